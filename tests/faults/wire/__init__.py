"""The real services, Kafka and MongoDB behind a TCP proxy that delays, slices, holds, drops and cuts."""
