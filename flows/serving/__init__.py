"""Services for the flows: server, deployments, limits, artifacts, progress."""
