"""`python -m tests.e2e.flow_run '{"aoi": "small"}'` runs the flow `build-datacube` and prints how it ended, as JSON.

SLIDECUBE_TESTS_WORKERS_WAIT_S shortens the wait for a Dask worker.
"""

import json
import os
import sys

from flows.build_datacube import build_datacube
from flows.workers import dask_workers

if __name__ == "__main__":
    if wait_s := os.environ.get("SLIDECUBE_TESTS_WORKERS_WAIT_S"):
        dask_workers.WORKERS_WAIT_S, dask_workers.LOOK_S = float(wait_s), 0.2
    state = build_datacube(**json.loads(sys.argv[1]), return_state=True)
    print(json.dumps({"name": state.name, "type": state.type.value, "message": state.message}))
