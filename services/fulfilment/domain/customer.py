"""A customer of the code shop."""

from datetime import tzinfo

from msgspec import Struct

from services.fulfilment.domain.invoice import BillingDetails


class Customer(Struct, frozen=True):
    """A site: the time zone of its business days, and its billing details."""

    time_zone: tzinfo
    billing: BillingDetails
