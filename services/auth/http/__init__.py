"""HTTP APIs of auth: the OAuth endpoints and the admin API."""
