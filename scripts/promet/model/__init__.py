"""The locked model: the bundle that leaves the house, and scoring new patients with it."""
