"""The audit trail: who did what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action. Ids sort by time; the details hold no personal data."""

    id: str
    at_us: int
    actor: str
    action: str
    source: str
    details: Mapping[str, Any]
