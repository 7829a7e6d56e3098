"""Loads products and codes, and withdraws codes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.ids import derive_id
from services.fulfilment.ports import ProductStore, SealCode, StockStore, TransactionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Dependencies of this flow."""

    products: ProductStore
    stock: StockStore
    transactions: TransactionStore
    seal: SealCode


class Batch(Struct, frozen=True):
    """Codes loaded together; `added` is how many of them are new and belong to no earlier batch."""

    id: str
    added: int


async def load_codes(sku: str, codes: Sequence[Code], deps: Deps) -> Batch | None:
    """Make codes available and the transactions due that wait for them.

    Returns the batch, None if there is no such product. Loading the codes again changes nothing and returns the same
    batch. Raises `UnavailableError`.
    """
    if not await deps.products.find([sku]):
        return None
    sealed = [deps.seal(sku, code) for code in _each_once(codes)]
    batch_id = derive_id("batch", sku, *sorted({code.digest for code in sealed}))
    added = await deps.stock.load(sku, sealed, batch_id=batch_id)
    if added:
        await deps.transactions.make_due(sku)
    return Batch(batch_id, added)


def _each_once(codes: Iterable[Code]) -> Iterable[Code]:
    """Return each code once, with its PIN if any of its occurrences has one."""
    unique: dict[str, Code] = {}
    for code in codes:
        if code.pin_code is not None or code.redeem_code not in unique:
            unique[code.redeem_code] = code
    return unique.values()


async def withdraw_codes(sku: str, codes: Sequence[Code], deps: Deps) -> int:
    """Remove those of the codes that are still available; returns how many. Raises `UnavailableError`.

    Codes that fill a slot stay there. Codes that were withdrawn can be loaded again.
    """
    return await deps.stock.withdraw(sku, list({deps.seal(sku, code).digest for code in codes}))
