"""A small Earth: one simulated event, and an archive server on loopback that speaks the real protocols.

Nothing else in the product imports this room; it meets the pipeline only on the wire.
"""
