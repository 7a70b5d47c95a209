"""A prior: a network that is trained on many simulated events, from which others are fine-tuned."""
