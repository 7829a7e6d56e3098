"""Foundation of every service. Knows no order, job or code."""
