"""DETAIL events: one per good record, made from its row when someone asks for all events."""

from services.jobs.events import SUCCEEDED
from services.status.domain.block import StoredRun
from services.status.domain.event import DETAIL
from services.status.domain.frame import EventTemplate, to_json_string
from services.status.domain.letters import find_indexes
from services.status.domain.rows import RecordIds, parse_rows


def detail_events(run: StoredRun, template: EventTemplate) -> list[tuple[tuple[int, int], str]]:
    """Position and JSON text of each event. Thousands make a page."""
    if SUCCEEDED not in run.outcomes:
        return []
    rows = parse_rows(run.rows, len(run.outcomes), job_type=template.job_type)
    found = []
    for place in find_indexes(run.outcomes, SUCCEEDED):
        index, who = run.first + place, rows[place]
        # A row comes as it was written: its mode can be any text.
        first = (
            template.default_attributes
            if who.mode is None
            else template.base_attributes(to_json_string(who.mode)[1:-1])
        )
        message, ids = _message_and_ids(who)
        found.append(((index, 0), template.render(index, 0, message, DETAIL, f'{first}{ids},"index":{index}')))
    return found


def _message_and_ids(who: RecordIds) -> tuple[str, str]:
    """The message, as JSON, and the ids, as further members of an object: the same texts, put into JSON once."""
    if who.order_id is None:
        return '"The record was accepted"', ""
    order = to_json_string(who.order_id)
    if who.return_id is None:
        return f'"Order {order[1:-1]} was accepted"', f',"orderId":{order}'
    returned = to_json_string(who.return_id)
    message = f'"Return {returned[1:-1]} of order {order[1:-1]} was accepted"'
    return message, f',"orderId":{order},"returnId":{returned}'
