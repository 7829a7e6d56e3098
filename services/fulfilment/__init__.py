"""Sale of redeemable codes: transactions, daily purchase orders, code delivery, and one invoice per day.

Reads:  fulfilment.transactions.v1, auth.sites.v1, auth.revocations.v1
Writes: fulfilment.transactions.v1, fulfilment.codes.v1, fulfilment.invoices.v1, fulfilment.transactions.v1.dlq
Owns:   products, codes, transactions, purchase_orders, invoices, idempotency_keys (MongoDB)
"""
