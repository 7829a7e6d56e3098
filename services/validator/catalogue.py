"""The catalogue: which products each site sells, fed from its compacted topic."""

from collections.abc import Set as AbstractSet
from urllib.parse import unquote

from services.validator import metrics

NO_PRODUCTS: frozenset[str] = frozenset()


class CatalogueTable:
    """Product ids by site, in memory. `apply` takes the topic's records; keys alone matter."""

    def __init__(self) -> None:
        self._products: dict[int, set[str]] = {}
        self._count = 0

    def products_of(self, site: int) -> AbstractSet[str]:
        """The site's product ids; none if the site is unknown."""
        return self._products.get(site, NO_PRODUCTS)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Add the product, or withdraw it where the value is None. Raises ValueError for a key that is none."""
        site_text, _, product = key.decode().partition("|")
        if not product:
            raise ValueError("a product's key is site|productId")
        products = self._products.setdefault(int(site_text), set())
        before = len(products)
        if value is None:
            products.discard(unquote(product))
        else:
            products.add(unquote(product))
        self._count += len(products) - before
        metrics.PRODUCTS.set(self._count)
