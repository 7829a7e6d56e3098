"""Fulfilment's types as MongoDB documents and as Kafka events."""
