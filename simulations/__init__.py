"""What flowactor is put through: workflows, stories with a name, and the seeds that ever failed."""
