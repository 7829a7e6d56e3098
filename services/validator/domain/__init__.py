"""Judging a record: pure, without Kafka or Avro."""
