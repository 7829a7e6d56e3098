"""Orders of the ledger in the words of their pages."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tillstream.models import Entry

# State, what people read, and the tone of its badge.
STATES = {
    "ORDERED": ("Ordered", "neutral"),
    "PARTLY_RETURNED": ("Partly returned", "info"),
    "RETURNED": ("Returned", "info"),
    "OVER_RETURNED": ("More returned than ordered", "bad"),
    "RETURN_WITHOUT_ORDER": ("Return without an order", "warning"),
}
FLAGS = {
    "CHANNEL_DIFFERS": "A return came under another channel than the order.",
    "AMBIGUOUS_ORDER": "Several channels have an order with this number, so the return could not be matched.",
    "MORE_THAN_ORDERED": "More came back than was ordered.",
    "USER_DIFFERS": "A return names another user than the order.",
    "CURRENCY_DIFFERS": "A return is in another currency; it is listed, but not subtracted.",
    "USER_CHANGED": "A later version of the order names another user.",
}


class VersionView(Struct, frozen=True):
    """A version of an order: when it was accepted, by which import, and what it changed."""

    at: datetime
    job_id: str | None
    changed: Sequence[str]


class OrderView(Struct, frozen=True, kw_only=True):
    """An order with what came back of it; `versions` are given if it was corrected."""

    entry: Entry
    state_text: str
    tone: str
    time: datetime | None
    mode: str | None
    job_id: str | None
    versions: Sequence[VersionView]
    notes: Sequence[str]


def describe_order(entry: Entry) -> OrderView:
    """Return what pages show of an order."""
    text, tone = STATES.get(entry.state, (entry.state.capitalize(), "neutral"))
    sale = entry.order or (entry.returns[-1] if entry.returns else None)
    versions = [
        VersionView(datetime.fromisoformat(each["at"]), each.get("jobId"), each.get("changed", ()))
        for each in entry.versions
    ]
    return OrderView(
        entry=entry,
        state_text=text,
        tone=tone,
        time=None if sale is None else sale.date_time,
        mode=None if sale is None else sale.mode.capitalize(),
        job_id=None if sale is None else sale.job_id,
        versions=versions if len(versions) > 1 else [],
        notes=[FLAGS.get(flag, flag) for flag in entry.flags],
    )
