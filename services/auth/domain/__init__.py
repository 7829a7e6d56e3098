"""Decides which client may have which token. Pure."""
