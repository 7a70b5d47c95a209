"""A simulated topsApp, jobs for it, and the small image in which they run."""
