"""One package per service: auth issues tokens, ingest accepts records, validator judges them, status shows each job.

Fulfilment sells codes, `schema_registry` serves the Avro schemas and `cli` has the operator's commands. They share
`topics`, the `chassis`, and the pure packages `values`, `avro`, `sales` (records and rules) and `jobs` (job events).
"""
