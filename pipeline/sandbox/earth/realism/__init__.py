"""What real scenes have and quiet simulated ones lack: one file an effect, each with its source and its switch."""
