"""One training by a trainer of Lightning: its step, data, evaluations, checkpoint, loggers and processes."""
