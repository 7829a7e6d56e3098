"""Ingest's one use case: accept an import request."""
