"""Faults of every kind against a whole installation, and one checker for all of them. Imports nothing of `services`."""
