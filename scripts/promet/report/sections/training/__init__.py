"""Learning curves of all runs and how far they differ."""
