"""The locked model."""
