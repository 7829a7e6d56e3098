"""Implementations of webhooks' ports: MongoDB, HTTP and in-process notification."""
