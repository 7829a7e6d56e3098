"""Implementations of auth's ports: MongoDB, Kafka, argon2 and PyJWT."""
