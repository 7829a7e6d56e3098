"""Records what happened to a site's jobs, orders and invoices as a feed, and pushes it to endpoints.

Reads:  jobs.finished.v1, fulfilment.codes.v1, fulfilment.invoices.v1, auth.sites.v1, auth.revocations.v1
Writes: jobs.finished.v1.dlq, fulfilment.codes.v1.dlq, fulfilment.invoices.v1.dlq
Owns:   feed_events, feeds, webhook_endpoints, webhook_senders, webhook_deliveries, webhook_replays
        (MongoDB)
"""
