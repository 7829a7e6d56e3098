"""Load on a whole sandbox, and a report. Figures are for this machine; ratios travel better."""
