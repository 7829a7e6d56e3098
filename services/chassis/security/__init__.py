"""Request security: tokens, signing keys, revocations, sites, audit."""
