"""Issues tokens to clients, and manages the sites that they belong to.

Reads:  auth.sites.v1, auth.revocations.v1
Writes: auth.sites.v1, auth.revocations.v1
Owns:   auth_sites, auth_clients, auth_keys, auth_revocations
"""
