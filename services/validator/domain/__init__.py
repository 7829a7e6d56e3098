"""What judging a record means."""
