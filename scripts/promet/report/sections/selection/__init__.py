"""Which run was chosen, and what another choice would have given."""
