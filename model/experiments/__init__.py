"""Trials that can be compared: protocols, ablation, ladder, baselines."""
