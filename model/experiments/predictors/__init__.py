"""Methods of other people under the protocol `strict`: their folds, the guard against leakage, intervals, a card."""
