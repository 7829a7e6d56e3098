"""What every service stands on. Knows no order, job or code."""
