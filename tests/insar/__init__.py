"""A stand-in for topsApp, jobs for it, and the small image that they run in."""
