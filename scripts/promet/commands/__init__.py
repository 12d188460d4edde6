"""What the data manager types."""
