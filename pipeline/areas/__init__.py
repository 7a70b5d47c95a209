"""Areas of interest: the files, their fields and rules."""
