"""The files that topsApp reads and writes."""
