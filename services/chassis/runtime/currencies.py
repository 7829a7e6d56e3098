"""The list of ISO 4217 currencies."""

import pycountry


def load_currencies() -> frozenset[str]:
    """Return the currency codes, in upper case."""
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)
