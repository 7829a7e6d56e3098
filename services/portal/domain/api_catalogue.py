"""The APIs whose documents are shown."""

from collections.abc import Mapping

from msgspec import Struct


class ApiEntry(Struct, frozen=True, kw_only=True):
    """An API: its name in addresses, what it is called, and where its document is."""

    name: str
    label: str
    document_path: str
    is_for_operators: bool = False


_ENTRIES = (
    ApiEntry(name="omnichannel", label="Import", document_path="/omnichannel/openapi.yaml"),
    ApiEntry(name="common-status", label="Status", document_path="/common-status/openapi.yaml"),
    ApiEntry(name="ledger", label="Ledger", document_path="/ledger/openapi.yaml"),
    ApiEntry(name="fulfilment", label="Codes", document_path="/fulfilment/openapi.yaml"),
    ApiEntry(name="events", label="Events", document_path="/events/openapi.yaml"),
    ApiEntry(name="auth", label="Tokens", document_path="/auth/openapi.yaml"),
    ApiEntry(
        name="auth-admin", label="Administration", document_path="/auth-admin/openapi.yaml", is_for_operators=True
    ),
)
API_ENTRIES: Mapping[str, ApiEntry] = {entry.name: entry for entry in _ENTRIES}
