"""Implementations of the validator's ports, over Kafka."""
