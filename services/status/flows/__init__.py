"""What status does: applies job events, answers queries, expires jobs."""
