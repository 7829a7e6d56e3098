"""HTTP: server, request bodies, paging, idempotency, rate limits."""
