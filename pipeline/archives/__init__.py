"""Access to the archives; only this room sends requests. Signing, limits, retries and errors are implemented here."""
