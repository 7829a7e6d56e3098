"""Judges submitted records by the rules and the catalogue.

Reads:  orders.submitted.v1, returns.submitted.v1, catalog.products.v1
Writes: orders.validated.v1, returns.validated.v1, records.rejected.v1, jobs.events.v1,
        orders.submitted.v1.dlq, returns.submitted.v1.dlq
Owns:   nothing
"""
