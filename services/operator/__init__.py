"""What operators see and do without Kafka's tools: topics and their lag, dead letters, replays, the audit trail.

Its Kafka user is that of operators' commands, so the topics are theirs, too. The service itself writes what
`python -m services dead-letters` does: records to their original topics, and markers of dead letters.

Reads:  auth.sites.v1, auth.revocations.v1, orders.submitted.v1.dlq, returns.submitted.v1.dlq,
        orders.validated.v1.dlq, returns.validated.v1.dlq, jobs.events.v1.dlq, jobs.finished.v1.dlq,
        fulfilment.transactions.v1.dlq, fulfilment.codes.v1.dlq, fulfilment.invoices.v1.dlq
Writes: auth.sites.v1, auth.revocations.v1, catalog.products.v1
Owns:   operator_replays, operator_leases, operator_audit (MongoDB)
"""
