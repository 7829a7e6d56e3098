"""Implementations of fulfilment's ports: MongoDB, mail, suppliers, invoice documents, encryption."""
