"""Redeemable codes: transactions, same-day purchase orders, codes as they come, one invoice at the end of the day.

Reads:  fulfilment.transactions.v1, auth.sites.v1, auth.revocations.v1
Writes: fulfilment.transactions.v1, fulfilment.codes.v1, fulfilment.invoices.v1, fulfilment.transactions.v1.dlq
Owns:   products, codes, transactions, purchase_orders, invoices, idempotency_keys (MongoDB)
"""
