"""A trained model as a folder that can be mailed: weights, inputs, statistics, scores, card."""
