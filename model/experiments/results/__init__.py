"""Results of trials: their values, their files, their comparison, their figures."""
