"""Statistics as functions on arrays."""
