"""DETAIL events: one per good record, made from its row when someone asks for all events."""

from collections.abc import Iterator

from services.status.domain.block import Entry
from services.status.domain.event import DETAIL
from services.status.domain.facts import SUCCEEDED
from services.status.domain.frame import Frame, member
from services.status.domain.letters import places
from services.status.domain.rows import Who, read_rows


def detail_events(entry: Entry, frame: Frame) -> Iterator[tuple[int, str]]:
    """Index and JSON text of each event. Thousands make a page."""
    if SUCCEEDED not in entry.letters:
        return
    rows = read_rows(entry.rows, len(entry.letters), of=frame.type)
    usual = frame.first_attributes(frame.mode)
    for place in places(entry.letters, SUCCEEDED):
        index, who = entry.first + place, rows[place]
        first = usual if who.mode is None else frame.first_attributes(who.mode)
        yield index, frame.event(index, 0, accepted(who), DETAIL, f'{first}{_ids(who)},"index":{index}')


def accepted(who: Who) -> str:
    """The event's message."""
    if who.return_id is not None:
        return f"Return {who.return_id} of order {who.order_id} was accepted"
    return "The record was accepted" if who.order_id is None else f"Order {who.order_id} was accepted"


def _ids(who: Who) -> str:
    return member("orderId", who.order_id) + member("returnId", who.return_id)
