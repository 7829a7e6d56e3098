"""Failures as Kafka carries them.

Where many records fail, status spends much of its time here. So what is usual, a short text that is there, is read
where it stands, without a call; all else is left to `avro_values`. And records of a job often fail for the same reason:
faults that are, byte by byte, those of the failure before are not read again.
"""

from services.status.avro_values import LONG_OR_NEGATIVE, read_count, read_long, read_optional_text, read_text
from services.status.domain.facts import Failure, Fault

# By the byte that stands for each.
MODES, LEVELS, BOOLEANS = {0: "offline", 2: "online"}, {0: "WARNING", 2: "ERROR"}, {0: False, 1: True}

# In front of an optional text: it is there.
_PRESENT = 2


def read_failures(data: bytes, at: int) -> tuple[list[Failure], int]:
    """An array of them, and where it ends. Raises `LookupError` or `ValueError` where there is none."""
    found: list[Failure] = []
    faults: list[Fault] = []
    their_bytes = b""
    count, at = read_count(data, at)
    while count:
        for _ in range(count):
            if (number := data[at]) & LONG_OR_NEGATIVE:
                index, at = read_long(data, at)
            else:
                index, at = number >> 1, at + 1
            order_id: str | None
            return_id: str | None = None
            record: str | None
            if data[at] != _PRESENT or (length := data[at + 1]) & LONG_OR_NEGATIVE:
                order_id, at = read_optional_text(data, at)
            else:
                order_id, at = data[at + 2 : (end := at + 2 + (length >> 1))].decode(), end
            if data[at]:
                return_id, at = read_optional_text(data, at)
            else:
                at += 1
            mode, at = MODES[data[at]], at + 1
            if their_bytes and data.startswith(their_bytes, at):
                at += len(their_bytes)
            else:
                start = at
                faults, at = _read_faults(data, at)
                their_bytes = data[start:at]
            if data[at] != _PRESENT or (length := data[at + 1]) & LONG_OR_NEGATIVE:
                record, at = read_optional_text(data, at)
            else:
                record, at = data[at + 2 : (end := at + 2 + (length >> 1))].decode(), end
            found.append(Failure(index, order_id, return_id, mode, faults, record))
        count, at = read_count(data, at) if data[at] else (0, at + 1)
    return found, at


def _read_faults(data: bytes, at: int) -> tuple[list[Fault], int]:
    found: list[Fault] = []
    if (number := data[at]) & LONG_OR_NEGATIVE:
        count, at = read_count(data, at)
    else:
        count, at = number >> 1, at + 1
    while count:
        for _ in range(count):
            if (length := data[at]) & LONG_OR_NEGATIVE:
                code, at = read_text(data, at)
            else:
                code, at = data[at + 1 : (end := at + 1 + (length >> 1))].decode(), end
            if (length := data[at]) & LONG_OR_NEGATIVE:
                field, at = read_text(data, at)
            else:
                field, at = data[at + 1 : (end := at + 1 + (length >> 1))].decode(), end
            if (length := data[at]) & LONG_OR_NEGATIVE:
                message, at = read_text(data, at)
            else:
                message, at = data[at + 1 : (end := at + 1 + (length >> 1))].decode(), end
            level = LEVELS[data[at]]
            product_id: str | None
            if data[at + 1] != _PRESENT or (length := data[at + 2]) & LONG_OR_NEGATIVE:
                product_id, at = read_optional_text(data, at + 1)
            else:
                product_id, at = data[at + 3 : (end := at + 3 + (length >> 1))].decode(), end
            found.append(Fault(code, field, message, level, product_id, BOOLEANS[data[at]]))
            at += 1
        count, at = read_count(data, at) if data[at] else (0, at + 1)
    return found, at
