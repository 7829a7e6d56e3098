"""Fulfilment's use cases: place an order, fulfil it, get codes, close a day, load stock."""
