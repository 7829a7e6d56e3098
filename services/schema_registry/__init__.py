"""A read-only schema registry with Confluent's HTTP API."""
