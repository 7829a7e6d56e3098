"""What the ledger decides: versions, matching of returns, sums, reports. Pure."""
