"""What `/records` shows: one item per record with a given outcome."""

from collections.abc import Iterator

import msgspec

from services.status.domain.block import Block, Entry
from services.status.domain.event import BETWEEN_DETAILS, EXPIRED, EXPIRED_MESSAGE
from services.status.domain.facts import FAILED, SUCCEEDED, UNPROCESSED
from services.status.domain.letters import places
from services.status.domain.rows import RETURNS, UNKNOWN, Who, read_rows

OUTCOMES = {"succeeded": SUCCEEDED, "failed": FAILED, "unprocessed": UNPROCESSED}
_NAMES = {letter: name for name, letter in OUTCOMES.items()}
_encode = msgspec.json.Encoder().encode

_NO_FAULTS = '"faults":[]'
_EXPIRED_FAULTS = (
    '"faults":' + _encode([{"code": EXPIRED, "field": "", "message": EXPIRED_MESSAGE, "retryable": True}]).decode()
)


def records_in(block: Block, letter: str, low: int, high: int, *, of: str) -> list[tuple[int, str]]:
    """Index and JSON text of the records from `low` up to `high` with this outcome, ascending."""
    late = _late(block, of) if letter == UNPROCESSED else {}
    found = [
        (index, text)
        for entry in block.entries
        if not entry.is_late and letter in entry.letters
        for index, text in _items(entry, letter, late, of)
        if low <= index < high
    ]
    found.sort()
    return found


def _items(entry: Entry, letter: str, late: dict[int, tuple[str, Who]], of: str) -> Iterator[tuple[int, str]]:
    rows = read_rows(entry.rows, len(entry.letters), of=of)
    faults = dict(entry.failures(entry.details, BETWEEN_DETAILS)) if letter == FAILED else {}
    for place in places(entry.letters, letter):
        index = entry.first + place
        if letter == UNPROCESSED:
            came, who = late.get(index, ("", UNKNOWN))
            last = f',"lateOutcome":"{came}"' if came else ""
            yield index, _item(index, who, of, _NAMES[letter], _EXPIRED_FAULTS + last)
        else:
            yield index, _item(index, rows[place], of, _NAMES[letter], faults.get(index, _NO_FAULTS))


def _late(block: Block, of: str) -> dict[int, tuple[str, Who]]:
    found = {}
    for entry in block.entries:
        if entry.is_late:
            rows = read_rows(entry.rows, len(entry.letters), of=of)
            for place, letter in enumerate(entry.letters):
                if letter in _NAMES:
                    found[entry.first + place] = (_NAMES[letter], rows[place])
    return found


def _item(index: int, who: Who, of: str, outcome: str, rest: str) -> str:
    ids = {"orderId": who.order_id, "returnId": who.return_id} if of == RETURNS else {"id": who.order_id}
    ids["userId"] = who.user_id
    return f'{{"index":{index},{_encode(ids)[1:-1].decode()},"outcome":"{outcome}",{rest}}}'
