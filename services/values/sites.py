"""A site (tenant) and its API keys: one definition for JSON requests, MongoDB documents and Avro records."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import msgspec

from services.values.currencies import DEFAULT_CURRENCY

MAX_NAME_LENGTH = 128
MAX_ADDRESS_LENGTH = 512
MAX_ADDRESS_LINES = 8
MAX_NUMBER = 2**63 - 1

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A key that is part of request paths, and the default channel of records sent with it."""

    # The pattern ends in \Z: $ would allow a line break after it.
    api_key: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{1,128}\\Z")]
    channel: Name | None = None


class Site(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Configuration of one site. Decoding JSON checks the bounds; `from_fields` trusts what was checked before."""

    site: Number
    name: Name
    app_id: Number
    root_source: Name
    datacenter: Name
    time_zone: Name = "UTC"
    api_keys: tuple[ApiKey, ...] = ()
    records_per_second: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    invoice_email: Name | None = None
    invoice_address: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ADDRESS_LENGTH)] | None = None
    tax_id: Name | None = None
    report_currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}\\Z")] = DEFAULT_CURRENCY

    def default_channel(self, api_key: str) -> str | None:
        """The channel of records that were sent with this key and name none themselves."""
        return next((key.channel for key in self.api_keys if key.api_key == api_key), None)

    def to_fields(self) -> dict[str, Any]:
        """Return the fields by their wire names (camelCase), which JSON, MongoDB and Avro share."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Build a site from its fields by their wire names; other fields are ignored. Raises `KeyError`.

        A document that was stored before an optional field existed lacks it.
        """
        values = {
            field.name: fields[field.encode_name] for field in _FIELDS if field.required or field.encode_name in fields
        }
        # MongoDB's driver returns 64-bit integers as a subclass that JSON encoders refuse.
        values |= {name: int(value) for name, value in values.items() if isinstance(value, int)}
        keys = tuple(ApiKey(api_key=key["apiKey"], channel=key["channel"]) for key in fields["apiKeys"])
        return cls(**{**values, "api_keys": keys})


_FIELDS = msgspec.structs.fields(Site)
