"""Kafka: producer, consumer, compacted tables, dead letters."""
