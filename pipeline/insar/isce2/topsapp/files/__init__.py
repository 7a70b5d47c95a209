"""Files that topsApp reads and writes, made and checked."""
