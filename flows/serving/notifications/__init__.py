"""What people are told, and by what."""
