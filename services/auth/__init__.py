"""Tokens for clients, and the sites they belong to.

Reads:  auth.sites.v1, auth.revocations.v1
Writes: auth.sites.v1, auth.revocations.v1
Owns:   auth_sites, auth_clients, auth_keys, auth_revocations
"""
