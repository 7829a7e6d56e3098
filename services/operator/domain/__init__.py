"""What a replay, a group of dead letters and the audit trail are."""
