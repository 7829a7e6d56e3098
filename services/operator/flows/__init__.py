"""What the operator API does: replays from their dry run to their end."""
