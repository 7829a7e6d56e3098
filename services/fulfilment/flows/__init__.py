"""Fulfilment's use cases: place an order, deliver codes, get codes, close a day, load stock."""
