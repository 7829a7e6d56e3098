"""Files of orders and returns: what they hold, as records that can be sent."""
