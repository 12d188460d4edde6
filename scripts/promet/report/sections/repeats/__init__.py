"""The repeated splits together."""
