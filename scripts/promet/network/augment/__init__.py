"""Random transforms of the training part; reference and batched engine."""
