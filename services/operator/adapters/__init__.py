"""Implementations of the ports: Kafka and MongoDB."""
