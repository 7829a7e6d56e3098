"""DETAIL events: one per good record, made from its row when someone asks for all events."""

from services.status.domain.block import Entry
from services.status.domain.event import DETAIL
from services.status.domain.facts import SUCCEEDED
from services.status.domain.frame import Frame, json_text
from services.status.domain.letters import places
from services.status.domain.rows import Who, read_rows


def detail_events(entry: Entry, frame: Frame) -> list[tuple[tuple[int, int], str]]:
    """Position and JSON text of each event. Thousands make a page."""
    if SUCCEEDED not in entry.letters:
        return []
    rows = read_rows(entry.rows, len(entry.letters), of=frame.type)
    found = []
    for place in places(entry.letters, SUCCEEDED):
        index, who = entry.first + place, rows[place]
        # A row comes as it was written: its mode can be any text.
        first = frame.usual_attributes if who.mode is None else frame.first_attributes(json_text(who.mode)[1:-1])
        message, ids = _told(who)
        found.append(((index, 0), frame.event(index, 0, message, DETAIL, f'{first}{ids},"index":{index}')))
    return found


def _told(who: Who) -> tuple[str, str]:
    """The message, as JSON, and the ids, as further members of an object: the same texts, put into JSON once."""
    if who.order_id is None:
        return '"The record was accepted"', ""
    order = json_text(who.order_id)
    if who.return_id is None:
        return f'"Order {order[1:-1]} was accepted"', f',"orderId":{order}'
    returned = json_text(who.return_id)
    message = f'"Return {returned[1:-1]} of order {order[1:-1]} was accepted"'
    return message, f',"orderId":{order},"returnId":{returned}'
