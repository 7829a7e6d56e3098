"""Source of a function that reads a record of a schema: one straight piece of code, without a call per field.

It reads behind the end only by slices, which come out short, or by single bytes, which raise `IndexError`; since the
position only grows, the caller sees either at the end.
"""

from collections.abc import Iterator
from itertools import count

from services.avro.schema import (
    Array,
    AvroType,
    Boolean,
    DecimalBytes,
    Enum,
    Int,
    Long,
    Optional,
    RecordType,
    String,
    TimestampMicros,
    Union,
)


def reader_name(record: RecordType) -> str:
    """What the function is called."""
    return f"read_{record.name}"


def reader_source(record: RecordType) -> str:
    """A function of (data, text, position): `text` is `data` with one character per byte."""
    body = _Reader().read(record, "value")
    lines = [f"def {reader_name(record)}(data, text, p):", *(f"    {line}" for line in body), "    return value, p", ""]
    return "\n".join(lines)


class _Reader:
    """Gives every value a name of its own."""

    def __init__(self) -> None:
        self._numbers = count()

    def read(self, kind: AvroType, target: str) -> Iterator[str]:
        """Lines that put the next value into `target`."""
        match kind:
            case RecordType(name, fields):
                targets = [f"{field.name}_{next(self._numbers)}" for field in fields]
                for field, part in zip(fields, targets, strict=True):
                    yield from self.read(field.type, part)
                yield f"{target} = {name}({', '.join(targets)})"
            case Array(of):
                yield from self._items(of, target)
            case Optional(of):
                yield from ("n = data[p]", "p += 1", "if n == 2:", *_indented(self.read(of, target)))
                yield from ("elif n:", "    raise Undecodable(no_branch)", "else:", f"    {target} = None")
            case Union(of):
                yield from ("n = data[p]", "p += 1")
                for position, record in enumerate(of):
                    yield f"{'elif' if position else 'if'} n == {2 * position}:"
                    yield from _indented(self.read(record, target))
                yield from ("else:", "    raise Undecodable(no_branch)")
            case _:
                yield from _simple(kind, target)

    def _items(self, of: AvroType, target: str) -> Iterator[str]:
        size, item = f"size_{next(self._numbers)}", f"item_{next(self._numbers)}"
        yield from (f"{target} = []", "while True:", f"    {size} = data[p]", "    p += 1")
        yield from (f"    if {size} & 129:", f"        {size}, p = read_block(data, {size}, p)")
        yield from ("    else:", f"        {size} >>= 1", f"    if not {size}:", "        break")
        yield f"    for _ in range({size}):"
        yield from _indented(_indented(self.read(of, item)))
        yield f"        {target}.append({item})"


def _simple(kind: AvroType, target: str) -> Iterator[str]:
    if isinstance(kind, TimestampMicros):
        yield from (f"{target} = usual_stamp(data[p : p + 8])", f"if {target} is None:")
        yield f"    {target}, p = read_varint(data, data[p], p + 1)"
        yield from ("else:", "    p += 8")
        return
    yield from ("n = data[p]", "p += 1")
    match kind:
        case String():
            # Hashes and ids of users are often longer than one byte of length can tell, rarely than two.
            yield from ("if n & 129:", "    if n & 1 or data[p] > 127:")
            yield from ("        n, p = read_length(data, n, p)", "        q = p + n", "    else:")
            yield from ("        q = p + 1 + (n >> 1 & 63 | data[p] << 6)", "        p += 1")
            yield from ("else:", "    q = p + (n >> 1)", f"{target} = text[p:q]")
            yield from (f"if not {target}.isascii():", f"    {target} = data[p:q].decode()", "p = q")
        case Int() | Long():
            read = "read_int" if isinstance(kind, Int) else "read_varint"
            yield from ("if n > 127:", "    if data[p] > 127:", f"        {target}, p = {read}(data, n, p)")
            yield from ("    else:", f"        {target} = (n >> 1 & 63 | data[p] << 6) ^ -(n & 1)", "        p += 1")
            yield from ("else:", f"    {target} = n >> 1 ^ -(n & 1)")
        case DecimalBytes():
            yield from ("if n & 129:", "    raise Undecodable(no_amount)", "q = p + (n >> 1)")
            yield from (f"{target} = read_amount(data[p:q])", "p = q")
        case Boolean():
            yield from ("if n > 1:", "    raise Undecodable(no_truth)", f"{target} = n == 1")
        case Enum(name):
            yield from (f"{target} = numbered_{name}.get(n)", f"if {target} is None:")
            yield "    raise Undecodable(no_symbol)"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}"
