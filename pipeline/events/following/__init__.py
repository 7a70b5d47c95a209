"""Following an event: its areas, the passes that are expected and found, and when the archives are looked at next."""
