"""What the ledger does: records sales, answers questions, checks and rebuilds its sums, erases users."""
