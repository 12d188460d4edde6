"""Attribution maps of the network."""
