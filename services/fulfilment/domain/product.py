"""A product whose codes are sold."""

from decimal import Decimal

from msgspec import Struct


class Product(Struct, frozen=True, kw_only=True):
    """One product. `supplier` names the source of its codes; a withdrawn product cannot be ordered."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str
    supplier: str = "stock"
    is_withdrawn: bool = False
