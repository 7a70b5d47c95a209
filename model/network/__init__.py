"""Networks, their training and their inference. The only room that imports torch."""
