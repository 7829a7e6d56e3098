"""What a customer, a purchase order and an invoice are. Pure."""
