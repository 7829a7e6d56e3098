"""The fulfilment API."""
