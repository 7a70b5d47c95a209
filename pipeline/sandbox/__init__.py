"""A simulated event, and an archive server on loopback that implements the protocols of the real archives.

The other rooms do not import this room; the pipeline reaches it only over HTTP.
"""
