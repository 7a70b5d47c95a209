"""The only code that talks to the outside: signing, limits, retries and error translation live here once."""
