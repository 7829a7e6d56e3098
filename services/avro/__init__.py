"""Codecs between Avro and typed records, generated from schemas. Pure: knows no orders and no jobs."""
