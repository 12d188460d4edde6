"""Which jobs there are, what each uses, what is stale, and how they run."""
