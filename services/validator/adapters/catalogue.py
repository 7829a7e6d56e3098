"""The catalogue: which products each site sells, fed from its compacted topic."""

from collections.abc import Collection
from urllib.parse import unquote

from services.validator import metrics

NO_PRODUCTS: frozenset[str] = frozenset()
# A set of its texts: unlike one, a dictionary of millions of texts is nothing the garbage collector walks through.
Products = dict[str, None]


class CatalogueTable:
    """Product ids by site, in memory. `apply` takes the topic's records; keys alone matter."""

    def __init__(self) -> None:
        self._products: dict[int, Products] = {}
        # The same by their sites' texts: millions of keys begin with the same few.
        self._by_text: dict[str, Products] = {}
        metrics.PRODUCTS.set_function(self.count)

    def products(self, site: int) -> Collection[str]:
        """The site's product ids; none if the site is unknown."""
        return self._products.get(site, NO_PRODUCTS)

    def count(self) -> int:
        """The products of all sites."""
        return sum(map(len, self._products.values()))

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Add the product, or withdraw it where the value is None. Raises ValueError for a key that is none."""
        site_text, _, product = key.decode().partition("|")
        if not product:
            raise ValueError("a product's key is site|productId")
        if "%" in product:
            product = unquote(product, errors="strict")
        products = self._by_text.get(site_text)
        if products is None:
            products = self._by_text[site_text] = self._products.setdefault(_parse_site(site_text), {})
        if value is None:
            products.pop(product, None)
        else:
            products[product] = None


def _parse_site(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise ValueError("a site is written in decimal")
    return int(text)
