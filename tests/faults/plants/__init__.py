"""Planted bugs: small changes of the product, each with the invariant that it breaks and the suite that must see it."""
