"""From cubes to a bundle: the events that it learns from, and the scores that stand beside its own."""
