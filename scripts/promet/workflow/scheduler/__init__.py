"""Before and while jobs go to SLURM."""
