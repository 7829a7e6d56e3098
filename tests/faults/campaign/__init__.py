"""Rounds of random faults against real servers and services, under load: `python -m tests.faults.campaign`."""
