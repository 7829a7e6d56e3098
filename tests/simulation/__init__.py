"""All services in one process, under a virtual clock and a seeded scheduler, on fakes of Kafka and MongoDB."""
