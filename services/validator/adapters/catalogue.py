"""The product catalogue of all sites, in memory; filled from its compacted topic."""

from collections.abc import Collection
from urllib.parse import unquote

from services.validator import metrics
from services.validator.ports import Catalogue

NO_PRODUCTS: frozenset[str] = frozenset()
# Used as a set: the garbage collector does not track a dict of strings, but would traverse a set of millions.
Products = dict[str, None]


class CatalogueTable(Catalogue):
    """Product ids by site. `apply` takes the topic's records, of which only the keys matter."""

    def __init__(self) -> None:
        self._products: dict[int, Products] = {}
        # The same dicts by the site as written: millions of keys start with the same few sites.
        self._by_site_text: dict[str, Products] = {}
        metrics.PRODUCTS.set_function(self.count)

    def products(self, site: int) -> Collection[str]:
        return self._products.get(site, NO_PRODUCTS)

    def count(self) -> int:
        """Count the products of all sites."""
        return sum(map(len, self._products.values()))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Add the product, or remove it if the value is None. Raises `ValueError` for an invalid key."""
        site_text, _, product = key.decode().partition("|")
        if not product:
            raise ValueError("a product's key must be site|productId")
        if "%" in product:
            product = unquote(product, errors="strict")
        products = self._by_site_text.get(site_text)
        if products is None:
            products = self._by_site_text[site_text] = self._products.setdefault(_parse_site(site_text), {})
        if value is None:
            products.pop(product, None)
        else:
            products[product] = None


def _parse_site(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise ValueError("a site must be a decimal number")
    return int(text)
