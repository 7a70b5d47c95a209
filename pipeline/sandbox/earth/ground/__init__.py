"""The ground of a scene with the effects of real scenes: what is permanent, and what each pass sees."""
