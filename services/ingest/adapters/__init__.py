"""Implementations of ingest's ports: Kafka and MongoDB."""
