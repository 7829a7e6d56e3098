"""Job events: the types and the codec that ingest, validator and status share. Pure."""
