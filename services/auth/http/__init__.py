"""Auth over HTTP: the OAuth endpoints and the admin API."""
