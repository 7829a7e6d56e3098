"""Small values that several services read from JSON: identifiers, instants, amounts, currencies, sites. Pure.

Each reader takes a decoded JSON value and returns the canonical value or an `Invalid`; none raises. `sites` is a record
that msgspec decodes.
"""
