"""What the archives' answers mean. Nothing here asks an archive."""
