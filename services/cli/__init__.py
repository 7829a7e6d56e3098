"""Operator commands: `topics`, `catalog`, `dead-letters`, `schemas`, `decode` and `init`; one module per group."""
