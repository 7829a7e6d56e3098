"""Accepts sales records over HTTP and puts them on record.

Reads:  auth.sites.v1, auth.revocations.v1
Writes: orders.submitted.v1, returns.submitted.v1, jobs.events.v1
Owns:   nothing
"""
