"""Sources of events on the web: what each states, read in the words of this project."""
