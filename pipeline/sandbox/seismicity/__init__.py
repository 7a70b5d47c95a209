"""Simulated earthquakes as the feeds state them: scripted revisions of a few, and a catalogue of a year."""
