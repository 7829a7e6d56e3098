"""Load generators, baselines, reports. Figures hold for one machine; ratios to a baseline are comparable."""
