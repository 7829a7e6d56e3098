"""Avro schemas to typed readers and writers, by code generation. Pure: knows no business."""
