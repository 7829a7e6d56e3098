"""From products and codes that somebody brings to what can be ordered."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.product import Product
from services.fulfilment.ports import Loading, Seal, Shelf, Waking


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything loading may touch."""

    products: Shelf
    stock: Loading
    transactions: Waking
    seal: Seal


async def load_codes(sku: str, codes: Sequence[Code], world: Deps) -> int | None:
    """Put codes on sale and wake those who wait for them; how many are new, None if there is no such product.

    Loading them again changes nothing. Raises `Away`.
    """
    if not await world.products.find([sku]):
        return None
    added = await world.stock.load(sku, [world.seal(sku, code) for code in codes])
    if added:
        await world.transactions.make_due(sku)
    return added


async def put_product(product: Product, world: Deps) -> bool:
    """Add or change a product; whether it is new. Orders that are placed already keep what it was. Raises `Away`."""
    return await world.products.put(product)
