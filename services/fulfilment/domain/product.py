"""What can be ordered."""

from decimal import Decimal

from msgspec import Struct


class Product(Struct, frozen=True, kw_only=True):
    """One product. `supplier` names where its codes come from; one that is withdrawn can be ordered no more."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str
    supplier: str = "stock"
    is_withdrawn: bool = False
