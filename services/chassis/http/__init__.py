"""HTTP: server, request bodies, OpenAPI documents, paging, idempotency, rate limits."""
