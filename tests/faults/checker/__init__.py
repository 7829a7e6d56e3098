"""The checker: clients that keep a ledger of what they sent and got, and the invariants that must hold afterwards."""
