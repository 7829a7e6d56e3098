"""Use cases of auth: issuing and revoking tokens, managing sites and clients, rotating signing keys."""
