"""What the data folder holds, what state it is in, and what of it may go."""
