"""The place of interferometry: one pair of SLCs to one geocoded product. The cube's schema has its variables."""
