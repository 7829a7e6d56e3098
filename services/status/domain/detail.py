"""DETAIL events: one per good record, made from its row when someone asks for all events."""

from collections.abc import Iterator

import msgspec

from services.status.domain.block import Entry
from services.status.domain.event import BATCH, DETAIL
from services.status.domain.facts import SUCCEEDED
from services.status.domain.ids import status_id, task_id
from services.status.domain.letters import places
from services.status.domain.profile import Profile
from services.status.domain.rows import Who, read_rows
from services.values.instants import utc_text

_encode = msgspec.json.Encoder().encode


def detail_events(entry: Entry, profile: Profile) -> Iterator[tuple[int, str]]:
    """Index and JSON text of each event. Thousands make a page, so what they share is put into text once."""
    if SUCCEEDED not in entry.letters:
        return
    header, origin = profile.header, profile.origin
    job_id = header.key.job_id
    head = f'{{"taskId":"{task_id(job_id, BATCH)}","statusId":"'
    middle = f'","batch":{BATCH},"type":"Application","message":'
    tail = f',"source":{_json(origin.source)},"datacenter":{_json(origin.datacenter)}'
    tail += f',"timestamp":"{utc_text(entry.at_us, digits=9)}"}}'
    rows = read_rows(entry.rows, len(entry.letters), of=header.type)
    for place in places(entry.letters, SUCCEEDED):
        index, who = entry.first + place, rows[place]
        attributes = _attributes(who, profile, index)
        message = _json(accepted(who))
        status = status_id(job_id, index, 0)
        yield index, f'{head}{status}{middle}{message},"level":"{DETAIL}","attributes":{attributes}{tail}'


def accepted(who: Who) -> str:
    """The event's message."""
    if who.return_id is not None:
        return f"Return {who.return_id} of order {who.order_id} was accepted"
    return "The record was accepted" if who.order_id is None else f"Order {who.order_id} was accepted"


def _attributes(who: Who, profile: Profile, index: int) -> str:
    ids = "" if who.order_id is None else f'"orderId":{_json(who.order_id)},'
    if who.return_id is not None:
        ids += f'"returnId":{_json(who.return_id)},'
    return f'{{"mode":"{who.mode or profile.header.mode}","type":"{profile.header.type}",{ids}"index":{index}}}'


def _json(text: str) -> str:
    return _encode(text).decode()
