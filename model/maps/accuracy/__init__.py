"""What a map is worth: by the events that its method was tested on, by its own scene, and by labels."""
