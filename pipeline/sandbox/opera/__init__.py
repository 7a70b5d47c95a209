"""Bursts of OPERA RTC-S1: files of a simulated scene, and the index of what a world has of them."""
