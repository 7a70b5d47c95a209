"""The commands of the learning stage."""
