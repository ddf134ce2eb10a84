"""What must always hold, as checkers that are told what happens and read nothing else."""
