"""What an event, an endpoint and a delivery are. Pure."""
