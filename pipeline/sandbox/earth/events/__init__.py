"""Kinds of land and randomised events."""
