"""Recognises the usual record on the wire without reading it, for those who need to know little of it.

One pattern is made from the schema and the limits of its fields. It matches records of which every text is short and
plain, every number small, every instant of our time, and none against the rules for that: a regular expression passes
over bytes many times faster than code that looks at field after field. A no proves nothing; the record is then read,
and the rules say what is wrong with it. A yes is final: the tests hold both together.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from services.avro.schema import (
    Array,
    AvroType,
    DecimalBytes,
    Enum,
    Field,
    Int,
    Long,
    Optional,
    RecordType,
    TimestampMicros,
    parse_schema,
)
from services.avro.varints import encode_varint, read_varint
from services.jobs.events import JobHeader, JobKey, JobRef
from services.sales import fields
from services.sales.records import RecordSummary
from services.values.identifiers import MAX_ID_LENGTH
from services.values.instants import MAX_OFFSET_MINUTES
from services.values.pii import MAX_CARD_DIGITS, MIN_CARD_DIGITS

# No control characters; in a hash none, besides, that could make it an address or the number of a card.
_PLAIN, _HASH = "[ -~]", "[!-,./-?A-~]"
# The length of a longer text takes two bytes; many hashes and ids of users are that long.
_SHORT, _LONG = 63, 127
# Their number must fit into one byte.
_MOST_ITEMS = 10

# A number has seven bits in each byte, the lowest first; all bytes but its last are above 127. An even one is not
# negative, and one that does not end in zero has no fewer bytes than it could have.
_EVEN = "".join(f"\\x{byte:02x}" for byte in range(2, 128, 2))
_EVEN_OF_MORE = "".join(f"\\x{byte:02x}" for byte in range(128, 256, 2))
_MORE, _LAST = r"[\x80-\xff]", r"[\x01-\x7f]"
_INT, _LONG_INT = _MORE + r"{0,3}[\x00-\x7f]", _MORE + r"{0,8}[\x00-\x7f]"
_POSITIVE = f"(?:[{_EVEN}]|[{_EVEN_OF_MORE}]{_MORE}{{0,2}}{_LAST})"
# From the end of 1978 to 3111.
_INSTANT = f"[{_EVEN_OF_MORE}]{_MORE}{{6}}{_LAST}"
_INSTANT_SIZE = 8
# Not negative, and of fewer digits than an amount may have.
_AMOUNT = "(?:" + "|".join(rf"\x{2 * size:02x}[\x00-\x7f].{{{size - 1}}}" for size in range(1, 8)) + ")"


def _text(shortest: int, longest: int) -> str:
    return _of_length(range(shortest, longest + 1), _PLAIN)


def _of_length(lengths: Iterable[int], characters: str) -> str:
    """A text behind its length: an alternative for each, since nothing else tells where a text ends."""
    return "(?:" + "|".join(f"{re.escape(encode_varint(length))}{characters}{{{length}}}" for length in lengths) + ")"


_ID = _text(1, min(_SHORT, MAX_ID_LENGTH))
# Longer than the number of a card, or shorter.
_LENGTHS = (*range(MAX_CARD_DIGITS + 1, min(_LONG, fields.MAX_HASH_LENGTH) + 1), *range(MIN_CARD_DIGITS))
_A_HASH = _of_length(_LENGTHS, _HASH)
_SEGMENT = _text(0, min(_SHORT, fields.MAX_SEGMENT_LENGTH))
# Every text, and the number that has a rule to itself.
_USUAL = {
    "job_id": "H[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    "id": _ID,
    "order_id": _ID,
    "return_id": _ID,
    "product_id": _ID,
    "sku_id": _ID,
    "user_id": _text(1, min(_LONG, fields.MAX_USER_ID_LENGTH)),
    "store_id": _text(1, min(_SHORT, fields.MAX_STORE_ID_LENGTH)),
    "channel": _text(0, min(_SHORT, fields.MAX_CHANNEL_LENGTH)),
    "payment_method": _text(0, min(_SHORT, fields.MAX_PAYMENT_METHOD_LENGTH)),
    "email_hash": _A_HASH,
    "cc_hash": _A_HASH,
    "segment_ids": _SEGMENT,
    "segment_names": _SEGMENT,
    "currency": "\x06[A-Z]{3}",
    "coupon_code": _text(0, min(_SHORT, fields.MAX_COUPON_CODE_LENGTH)),
    "credit_type": _text(0, min(_SHORT, fields.MAX_CREDIT_TYPE_LENGTH)),
    "quantity": _POSITIVE,
}

# What is looked at more closely than by the pattern, in the order in which it is taken from there; the names of a job's
# fields have the record's in front.
_OF_JOB = tuple(f"JobRef_{name}" for name in JobRef.__struct_fields__)
_OF_ALL = ("site", "accepted_at", "channel", "user_id", "date_time", "utc_offset_minutes", "mode", "currency")
_IDS = ("id", "order_id", "return_id")
_NEEDED = frozenset({*_OF_JOB, *_OF_ALL, *_IDS, "OrderLine_product_id", "ReturnLine_product_id"})

_OFFSETS = frozenset(map(encode_varint, range(-MAX_OFFSET_MINUTES, MAX_OFFSET_MINUTES + 1)))


class AvroPattern:
    """Knows the usual records of one schema."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        *head, lines = parse_schema(definition).fields
        pattern = re.compile(f"{_all_of(head)}([{_EVEN}])", re.DOTALL)
        ids = [name for name in _IDS if name in pattern.groupindex]
        self._match = pattern.match
        self._of_job = [pattern.groupindex[name] for name in _OF_JOB]
        self._of_all = [pattern.groupindex[name] for name in (*_OF_ALL, *ids)]
        # Whatever is no line counts as one without a product: the last byte, and all that is before it, in one.
        self._products = re.compile(f"{_one(lines.type, lines.name, '')}|.+(?=.)|.", re.DOTALL).findall
        symbols = dict(_symbols(head))
        self._modes, self._types = symbols["Mode"], symbols["RecordType"]
        # The records of a job follow each other.
        self._job = lru_cache(maxsize=1024)(self._header)

    def match(self, data: bytes, start: int, *, now_us: int, currencies: AbstractSet[str]) -> RecordSummary | None:
        """What is told of the record whose bytes begin at `start`, if it surely keeps every rule.

        Its job and its products are told as they are: whether those can be is not looked at.
        """
        text = data.decode("latin-1")
        found = self._match(text, start)
        if found is None:
            return None
        job, own = found.group(*self._of_job), found.group(*self._of_all)
        site, accepted_at, channel, user_id, date_time, offset, mode, currency, order_id, *return_id = own
        latest, products = _latest(now_us), self._products(text, found.end())
        if (
            not products
            or products.pop()
            or text[-1] != "\0"
            or accepted_at[::-1] > latest
            or date_time[::-1] > latest
            or offset not in _OFFSETS
            or currency[1:] not in currencies
            or 2 * len(products) != ord(text[found.end() - 1])
            or "" in products
        ):
            return None
        job_id, index, *about = job
        # Texts have their lengths in front: of two bytes where the first says so, which only ids of users need.
        return RecordSummary(
            _number(site),
            None if job_id is None else self._job(site, job_id, *about),
            0 if index is None else _number(index),
            None if channel is None else channel[1:],
            order_id[1:],
            return_id[0][1:] if return_id else None,
            user_id[1:] if user_id < "\x80" else user_id[2:],
            self._modes[mode],
            [product[1:] for product in products],
        )

    def _header(self, site: str, job_id: str, *about: str) -> JobHeader:
        total, created_at, mode, type_ = about
        return JobHeader(
            JobKey(_number(site), job_id[1:]),
            _number(total),
            _number(created_at),
            self._modes[mode],
            self._types[type_],
        )


def _all_of(parts: Sequence[Field], of: str = "") -> str:
    """A pattern of all these fields, in their order; the names of its groups begin with `of`."""
    return "".join(_one(part.type, part.name, of) for part in parts)


def _one(kind: AvroType, name: str, of: str) -> str:
    match kind:
        case Optional(inner):
            return rf"(?:\x02{_one(inner, name, of)}|\x00)"
        case RecordType(record, parts):
            return _all_of(parts, f"{record}_")
        case Array(RecordType(record, parts)):
            return _all_of(parts, f"{record}_")
        case Array(inner):
            item, counts = _one(inner, name, of), range(1, _MOST_ITEMS + 1)
            some = "|".join(rf"\x{2 * count:02x}{item}{{{count}}}\x00" for count in counts)
            return rf"(?:\x00|{some})"
        case _:
            usual = _USUAL.get(name) or _simple(kind)
            return f"(?P<{of}{name}>{usual})" if f"{of}{name}" in _NEEDED else usual


def _simple(kind: AvroType) -> str:
    match kind:
        case Int():
            return _INT
        case Long():
            return _LONG_INT
        case TimestampMicros():
            return _INSTANT
        case DecimalBytes():
            return _AMOUNT
        case Enum(_, symbols):
            return f"[{''.join(map(re.escape, map(encode_varint, range(len(symbols)))))}]"
    raise ValueError(f"nothing is known of what is usual for {kind}")


def _symbols(parts: Sequence[Field]) -> Iterator[tuple[str, dict[str, str]]]:
    """The symbols of each enumeration, by what they are on the wire."""
    for part in parts:
        match part.type:
            case Enum(name, symbols):
                yield name, {encode_varint(number): symbol for number, symbol in enumerate(symbols)}
            case Optional(RecordType(_, inner)):
                yield from _symbols(inner)


@lru_cache(maxsize=16_384)
def _number(text: str) -> int:
    # Sites, places, totals and instants of jobs repeat.
    data = text.encode("latin-1")
    return read_varint(data, data[0], 1)[0]


@lru_cache(maxsize=16)
def _latest(now_us: int) -> str:
    """The latest instant that may be, backwards: so instants compare as texts, for all take as many bytes."""
    latest = encode_varint(now_us + fields.MAX_FUTURE_US)
    return latest[::-1] if len(latest) == _INSTANT_SIZE else ""
