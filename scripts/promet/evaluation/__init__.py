"""ROC and DeLong, survival, CAPRA and the other comparators."""
