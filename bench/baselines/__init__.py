"""Minimal programs that do the unavoidable work of each stage; the services are compared with them."""
