"""The methods, every number from the configuration or the records."""
