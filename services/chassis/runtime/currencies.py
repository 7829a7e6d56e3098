"""The list of ISO 4217 currencies."""

import pycountry

from services.values.currencies import WITHDRAWN_CURRENCIES


def load_currencies() -> frozenset[str]:
    """Return the codes of current currencies, in upper case."""
    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


def load_all_currencies() -> frozenset[str]:
    """Return the codes of all currencies, those that were withdrawn among them."""
    return load_currencies() | WITHDRAWN_CURRENCIES
