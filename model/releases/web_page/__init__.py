"""The page of a release: pictures, the map that answers a click, the frame."""
