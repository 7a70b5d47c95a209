"""Training of a model on the cubes of one event or several, and the scores that its bundle reports."""
