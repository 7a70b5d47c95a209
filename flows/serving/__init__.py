"""What the flows need around them: server, deployments, limits, artifacts, progress."""
