"""Interferometry: makes geocoded products of pairs of SLCs. The cube's schema defines their variables."""
