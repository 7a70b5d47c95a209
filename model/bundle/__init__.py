"""A trained model as a folder that can be sent on: weights, inputs, statistics, scores, card."""
