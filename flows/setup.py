"""Set a Prefect server up for slidecube: `python -m flows.setup`. See `flows.serving.deployments`."""

from flows.serving.deployments import main

if __name__ == "__main__":
    raise SystemExit(main())
