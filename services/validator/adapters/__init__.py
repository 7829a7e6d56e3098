"""Implementations of the validator's ports, with Kafka and Avro."""
