"""Accepts sales records over HTTP and publishes them to Kafka.

Reads:  auth.sites.v1, auth.revocations.v1
Writes: orders.submitted.v1, returns.submitted.v1, jobs.events.v1
Owns:   nothing
"""
