"""The audit trail as operators see it: the portal's entries among those of the operators' API."""

import asyncio
from collections.abc import Sequence

from services.portal.domain.operations import EntryView, Operations
from services.portal.ports import AuditTrail

ENTRIES_PER_PAGE = 50


async def list_entries(operations: Operations | None, trail: AuditTrail, *, before: str) -> Sequence[EntryView]:
    """Return a page of entries, newest first, optionally only those before an entry's id.

    Without `operations` they are the portal's own. Raises `UnavailableError` and the errors of `tillstream`: a trail
    with gaps would look like a whole one.
    """
    if operations is None:
        return await trail.entries(before=before, limit=ENTRIES_PER_PAGE)
    theirs, ours = await asyncio.gather(
        operations.audit(before=before, limit=ENTRIES_PER_PAGE), trail.entries(before=before, limit=ENTRIES_PER_PAGE)
    )
    return sorted([*theirs, *ours], key=lambda entry: entry.id, reverse=True)[:ENTRIES_PER_PAGE]
