"""The command `tillstream`."""
