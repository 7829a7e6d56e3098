"""Orders and returns, the language of ingest and validator: what a valid record is, JSON in, Avro out. Pure.

`fields` is the table of fields; the readers, checks and writers follow it. `import_request` reads a request's body,
`rules` checks any record, `wire` encodes and decodes it, `verdicts` reports on it to its job.
"""
