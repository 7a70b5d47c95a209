"""Events that may have caused landslides: what a feed states, what the rule decides, what becomes of each."""
