"""A customer, as far as a purchase of codes needs to know one."""

from datetime import tzinfo

from msgspec import Struct

from services.fulfilment.domain.invoice import BillingDetails


class Customer(Struct, frozen=True):
    """A site: in whose time zone its days are, and who gets its invoices."""

    time_zone: tzinfo
    billing: BillingDetails
