"""Orders by user with their returns, and sales by channel and day.

Reads:  orders.validated.v1, returns.validated.v1, auth.sites.v1, auth.revocations.v1
Writes: ledger.movements.v1, orders.validated.v1.dlq, returns.validated.v1.dlq
Owns:   ledger_entries, ledger_sums, ledger_movements, ledger_books, ledger_partitions, ledger_erasures,
        ledger_turns (MongoDB)
"""
