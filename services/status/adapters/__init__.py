"""Implementations of status' ports: MongoDB, Kafka and in-process notification."""
