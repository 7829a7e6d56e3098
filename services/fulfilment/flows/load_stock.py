"""Loads products and codes."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.product import Product
from services.fulfilment.ports import ProductStore, SealCode, StockStore, TransactionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow."""

    products: ProductStore
    stock: StockStore
    transactions: TransactionStore
    seal: SealCode


async def load_codes(sku: str, codes: Sequence[Code], deps: Deps) -> int | None:
    """Make codes available and the transactions due that wait for them.

    Returns how many codes are new, None if there is no such product. Loading them again changes nothing. Raises
    `UnavailableError`.
    """
    if not await deps.products.find([sku]):
        return None
    added = await deps.stock.load(sku, [deps.seal(sku, code) for code in codes])
    if added:
        await deps.transactions.make_due(sku)
    return added


async def put_product(product: Product, deps: Deps) -> bool:
    """Add or replace a product and return whether it is new; raises `UnavailableError`.

    Existing orders keep the product as it was ordered.
    """
    return await deps.products.put(product)
