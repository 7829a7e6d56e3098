"""Small pure things that several services read from JSON: identifiers, instants, amounts, currencies, strict JSON.

Every reader takes a decoded JSON value and returns the canonical value or a `Wrong`; none of them raises.
"""
