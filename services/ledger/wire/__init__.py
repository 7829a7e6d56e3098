"""The ledger's records in Kafka and its documents in MongoDB."""
