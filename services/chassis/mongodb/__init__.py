"""MongoDB: the client and the transactional outbox."""
