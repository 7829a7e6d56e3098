"""What auth does: issues and revokes tokens, manages sites and clients, rotates signing keys."""
