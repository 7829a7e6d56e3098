"""The APIs whose documents are shown."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Server = Literal["gateway", "admin", "operator"]


class ApiEntry(Struct, frozen=True, kw_only=True):
    """An API: its name in addresses, what it is called, where its document is, and which server has it."""

    name: str
    label: str
    document_path: str
    server: Server = "gateway"

    @property
    def is_for_operators(self) -> bool:
        """Whether it is inside the cluster only, for clients with the scope `admin`."""
        return self.server != "gateway"


_ENTRIES = (
    ApiEntry(name="omnichannel", label="Import", document_path="/omnichannel/openapi.yaml"),
    ApiEntry(name="common-status", label="Status", document_path="/common-status/openapi.yaml"),
    ApiEntry(name="ledger", label="Ledger", document_path="/ledger/openapi.yaml"),
    ApiEntry(name="fulfilment", label="Codes", document_path="/fulfilment/openapi.yaml"),
    ApiEntry(name="events", label="Events", document_path="/events/openapi.yaml"),
    ApiEntry(name="auth", label="Tokens", document_path="/auth/openapi.yaml"),
    ApiEntry(name="auth-admin", label="Administration", document_path="/auth-admin/openapi.yaml", server="admin"),
    ApiEntry(name="operator", label="Operations", document_path="/operator/openapi.yaml", server="operator"),
)
API_ENTRIES: Mapping[str, ApiEntry] = {entry.name: entry for entry in _ENTRIES}
