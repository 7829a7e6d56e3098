"""Fulfilment's types and rules. Pure."""
