"""Fast path of the validator: a regular expression over Avro bytes that accepts common valid records undecoded.

The expression is generated from the Avro schema and the table of fields. It matches records whose texts are short and
printable ASCII, whose numbers are small and whose instants are of our time, none of them against the rules: `re` passes
over bytes many times faster than code that reads field after field (docs/adr/0009-several-readers-of-an-order.md).
A None proves nothing; the record is then decoded and the rules decide. A match is final; tests compare both.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from services.avro.schema import Array, AvroType, Enum, Field, Optional, Primitive, RecordType, parse_schema
from services.avro.varints import encode_varint, read_varint
from services.jobs.events import JobHeader, JobKey, JobRef
from services.sales.field_types import YEAR_1980_US, YEAR_2020_US, Currency, Hash, Quantity, Segments, Text
from services.sales.fields import TABLES
from services.sales.records import RecordSummary
from services.values.instants import MAX_OFFSET_MINUTES, latest_valid_us
from services.values.pii import MAX_CARD_DIGITS, MIN_CARD_DIGITS

# In a hash no character that could make it an e-mail address or a card number.
_PRINTABLE, _HASH_CHARACTERS = "[ -~]", "[!-,./-?A-~]"
# Array counts must fit into one byte.
_MAX_ITEMS = 10
_CACHE_SIZE = 16_384
# The product ids of a site.
ProductsOf = Callable[[int], Container[str]]

# A varint has seven bits in each byte, the lowest first; all its bytes but the last are above 127. Zigzag makes the
# numbers that are not negative even; a varint that does not end in zero is as short as it can be.
_EVEN = "".join(f"\\x{byte:02x}" for byte in range(2, 128, 2))
_EVEN_CONTINUED = "".join(f"\\x{byte:02x}" for byte in range(128, 256, 2))
_CONTINUED, _LAST = r"[\x80-\xff]", r"[\x01-\x7f]"
_INT, _LONG = _CONTINUED + r"{0,3}[\x00-\x7f]", _CONTINUED + r"{0,8}[\x00-\x7f]"
_POSITIVE_INT = f"(?:[{_EVEN}]|[{_EVEN_CONTINUED}]{_CONTINUED}{{0,2}}{_LAST})"
# From the end of 1978 to 3111.
_INSTANT = f"[{_EVEN_CONTINUED}]{_CONTINUED}{{6}}{_LAST}"
_INSTANT_LENGTH = 8
# Instants of equal length compare as texts if their bytes are reversed.
_REVERSED_YEAR_1980, _REVERSED_YEAR_2020 = encode_varint(YEAR_1980_US)[::-1], encode_varint(YEAR_2020_US)[::-1]
# Not negative, and of fewer digits than an amount may have.
_AMOUNT = "(?:" + "|".join(rf"\x{2 * size:02x}[\x00-\x7f].{{{size - 1}}}" for size in range(1, 8)) + ")"
_PATTERNS: dict[AvroType, str] = {
    Primitive.INT: _INT,
    Primitive.LONG: _LONG,
    Primitive.TIMESTAMP_MICROS: _INSTANT,
    Primitive.DECIMAL: _AMOUNT,
}
_UUID = f"{encode_varint(36)}[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}"
_CURRENCY = f"{encode_varint(3)}[A-Z]{{3}}"

# The groups of the pattern: what a summary consists of, and what is checked outside the pattern. The names of a job's
# fields are prefixed with their record's; those behind the index, which all records of a job share, are one group.
_JOB, _BEHIND_INDEX = JobRef.__name__, "behind_index"
_JOB_GROUPS = (f"{_JOB}_job_id", f"{_JOB}_index", _BEHIND_INDEX)
_GROUPS = ("site", "accepted_at", "channel", "user_id", "date_time", "utc_offset_minutes", "mode", "currency")
_ID_GROUPS = ("id", "order_id", "return_id")
_CAPTURED = frozenset({*_JOB_GROUPS, *_GROUPS, *_ID_GROUPS, "OrderLine_product_id", "ReturnLine_product_id"})

_OFFSETS = frozenset(map(encode_varint, range(-MAX_OFFSET_MINUTES, MAX_OFFSET_MINUTES + 1)))
_FIELDS = {field.attribute: field for table in TABLES for field in table.fields}


class AvroPattern:
    """Matches common valid records of one schema."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        *head, lines = parse_schema(definition).fields
        pattern = re.compile(f"{_fields_pattern(head)}([{_EVEN}])", re.DOTALL)
        ids = [name for name in _ID_GROUPS if name in pattern.groupindex]
        self._match = pattern.match
        self._groups = [pattern.groupindex[name] for name in (*_JOB_GROUPS, *_GROUPS, *ids)]
        # Bytes that do not match a line yield an empty product id, which makes the match fail: all before the last byte
        # at once, then the last byte.
        self._product_ids = re.compile(f"{_type_pattern(lines.type, lines.name, '')}|.+(?=.)|.", re.DOTALL).findall
        symbols = dict(_symbols_by_bytes(head))
        self._modes, self._types = symbols["Mode"], symbols["RecordType"]
        # The records of a job follow each other.
        self._job_header = lru_cache(maxsize=1024)(self._build_job_header)

    def match(
        self, data: bytes, start: int, now_us: int, currencies: AbstractSet[str], products_of: ProductsOf
    ) -> RecordSummary | None:
        """Return the summary of the record whose bytes begin at `start`, if it surely keeps every rule.

        All of its products are among those of its site. The caller checks its position in its job.
        """
        text = data.decode("latin-1")
        found = self._match(text, start)
        if found is None:
            return None
        job_id, index, about_job, site_text, accepted_at, channel, user_id, date_time, offset, mode, *others = (
            found.group(*self._groups)
        )
        currency, order_id, *return_id = others
        latest, end = _reversed_latest(now_us), found.end()
        product_ids = self._product_ids(text, end)
        if (
            not product_ids
            or product_ids.pop()
            or text[-1] != "\0"
            or not _REVERSED_YEAR_2020 <= accepted_at[::-1] <= latest
            or not _REVERSED_YEAR_1980 <= date_time[::-1] <= latest
            or offset not in _OFFSETS
            or currency[1:] not in currencies
            or 2 * len(product_ids) != ord(text[end - 1])
            or "" in product_ids
        ):
            return None
        site = _to_number(site_text)
        products = products_of(site)
        # Not kept: the texts of thousands of records would drive everything else out of the processor's caches.
        for product_id in product_ids:
            if product_id[1:] not in products:
                return None
        # Texts follow their lengths; only that of a user's id may take two bytes, which the first one shows.
        return RecordSummary(
            site,
            None if job_id is None else self._job_header(site, job_id, about_job),
            0 if index is None else _to_number(index),
            None if channel is None else channel[1:],
            order_id[1:],
            return_id[0][1:] if return_id else None,
            user_id[1:] if user_id < "\x80" else user_id[2:],
            self._modes[mode],
        )

    def _build_job_header(self, site: int, job_id: str, about_job: str) -> JobHeader:
        data = about_job.encode("latin-1")
        total, position = read_varint(data, data[0], 1)
        created_at, position = read_varint(data, data[position], position + 1)
        mode, type_ = about_job[position], about_job[position + 1]
        return JobHeader(
            JobKey(site, job_id[1:]),
            total=total,
            created_at=created_at,
            mode=self._modes[mode],
            type=self._types[type_],
        )


def _fields_pattern(parts: Sequence[Field], prefix: str = "") -> str:
    """A pattern of all these fields, in order; `prefix` goes before the names of its groups."""
    return "".join(_type_pattern(part.type, part.name, prefix) for part in parts)


def _type_pattern(type_: AvroType, name: str, prefix: str) -> str:
    match type_:
        case Optional(inner):
            return rf"(?:\x02{_type_pattern(inner, name, prefix)}|\x00)"
        case RecordType(record, parts):
            if record != _JOB:
                return _fields_pattern(parts, f"{record}_")
            behind = [part.name for part in parts].index("index") + 1
            parts, shared = parts[:behind], parts[behind:]
            return f"{_fields_pattern(parts, f'{record}_')}(?P<{_BEHIND_INDEX}>{_fields_pattern(shared, f'{record}_')})"
        case Array(RecordType(record, parts)):
            return _fields_pattern(parts, f"{record}_")
        case Array(inner):
            item, counts = _type_pattern(inner, name, prefix), range(1, _MAX_ITEMS + 1)
            blocks = "|".join(rf"\x{2 * count:02x}{item}{{{count}}}\x00" for count in counts)
            return rf"(?:\x00|{blocks})"
        case _:
            pattern = _common_pattern(name) or _any_pattern(type_)
            return f"(?P<{prefix}{name}>{pattern})" if f"{prefix}{name}" in _CAPTURED else pattern


def _common_pattern(name: str) -> str | None:
    """The common values of a field that have a pattern of their own."""
    row = _FIELDS.get(name)
    if row is None:
        return _UUID if name == "job_id" else None
    match row.type:
        case Hash(max_length, min_length=min_length):
            # Longer than a card number, or shorter.
            longer = range(MAX_CARD_DIGITS + 1, min(row.common_length, max_length) + 1)
            return _text_pattern((*longer, *range(min_length, MIN_CARD_DIGITS)), _HASH_CHARACTERS)
        case Text() | Segments() as type_:
            return _text_pattern(range(type_.min_length, min(row.common_length, type_.max_length) + 1))
        case Currency():
            return _CURRENCY
        case Quantity():
            return _POSITIVE_INT
    return None


def _text_pattern(lengths: Iterable[int], characters: str = _PRINTABLE) -> str:
    """A text behind its length: one alternative for each length, since nothing else marks the end of a text."""
    texts = (f"{re.escape(encode_varint(length))}{characters}{{{length}}}" for length in lengths)
    return f"(?:{'|'.join(texts)})"


def _any_pattern(type_: AvroType) -> str:
    if isinstance(type_, Enum):
        return f"[{''.join(map(re.escape, map(encode_varint, range(len(type_.symbols)))))}]"
    return _PATTERNS[type_]


def _symbols_by_bytes(parts: Sequence[Field]) -> Iterator[tuple[str, dict[str, str]]]:
    """The symbols of each enumeration, by their encoding."""
    for part in parts:
        match part.type:
            case Enum(name, symbols):
                yield name, {encode_varint(number): symbol for number, symbol in enumerate(symbols)}
            case Optional(RecordType(_, inner)):
                yield from _symbols_by_bytes(inner)


@lru_cache(maxsize=_CACHE_SIZE)
def _to_number(text: str) -> int:
    # Sites, positions, totals and creation times repeat.
    data = text.encode("latin-1")
    return read_varint(data, data[0], 1)[0]


@lru_cache(maxsize=16)
def _reversed_latest(now_us: int) -> str:
    """The latest valid instant with its bytes reversed."""
    latest = encode_varint(latest_valid_us(now_us))
    return latest[::-1] if len(latest) == _INSTANT_LENGTH else ""
