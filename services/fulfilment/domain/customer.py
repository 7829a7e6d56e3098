"""A customer of the code shop."""

from datetime import tzinfo

from msgspec import Struct


class BillingDetails(Struct, frozen=True):
    """The customer to bill, as known when the document was issued."""

    site: int
    name: str
    email: str | None = None
    address: str | None = None
    tax_id: str | None = None


class Customer(Struct, frozen=True):
    """A site: the time zone of its business days, and its billing details."""

    time_zone: tzinfo
    billing: BillingDetails
