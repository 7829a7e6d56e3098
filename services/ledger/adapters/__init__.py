"""MongoDB and Kafka behind the ledger's ports."""
