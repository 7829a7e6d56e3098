"""Source of a function that reads a record of a schema: one straight piece of code, without a call per field.

Beyond the end it reads only slices, which come out short, or single bytes, which raise `IndexError`. The position only
grows, so the caller detects both when the function has returned.
"""

from collections.abc import Collection, Iterator
from itertools import count

from services.avro.schema import Array, AvroType, Enum, Optional, Primitive, RecordType, Union


def reader_name(record: RecordType) -> str:
    """Return the name of the function that `reader_source` defines."""
    return f"read_{record.name}"


def reader_source(record: RecordType, *, repeated: Collection[str] = ()) -> str:
    """Return the source of a function of (data, text, position); `text` is `data` with one character per byte.

    `repeated` are fields with an array that is often the same, byte by byte, as the one that was read before in the
    same record: it is then not read again, and both have the same list.
    """
    reader = _Reader(repeated)
    body = list(reader.read(record, "value"))
    lines = [
        f"def {reader_name(record)}(data, text, p):",
        *(f"    {name} = b''" for name in reader.latest),
        *(f"    {line}" for line in body),
        "    return value, p",
        "",
    ]
    return "\n".join(lines)


class _Reader:
    """Gives every value a variable of its own. `latest` are those with the bytes of repeated arrays."""

    def __init__(self, repeated: Collection[str]) -> None:
        self._numbers = count()
        self._repeated = repeated
        self.latest: list[str] = []

    def read(self, type_: AvroType, target: str) -> Iterator[str]:
        """Yield lines that put the next value into `target`."""
        match type_:
            case RecordType(name, fields):
                targets = [f"{field.name}_{next(self._numbers)}" for field in fields]
                for field, field_target in zip(fields, targets, strict=True):
                    read = self._read_repeated if field.name in self._repeated else self.read
                    yield from read(field.type, field_target)
                yield f"{target} = {name}({', '.join(targets)})"
            case Array(items):
                yield from self._read_array(items, target)
            case Optional(inner):
                yield from ("n = data[p]", "p += 1", "if n == 2:", *_indented(self.read(inner, target)))
                yield from ("elif n:", "    raise AvroDecodeError(invalid_branch)", "else:", f"    {target} = None")
            case Union(branches):
                yield from ("n = data[p]", "p += 1")
                for position, branch in enumerate(branches):
                    yield f"{'elif' if position else 'if'} n == {2 * position}:"
                    yield from _indented(self.read(branch, target))
                yield from ("else:", "    raise AvroDecodeError(invalid_branch)")
            case _:
                yield from _read_primitive(type_, target)

    def _read_repeated(self, type_: AvroType, target: str) -> Iterator[str]:
        """What these bytes stand for does not depend on what follows, so equal bytes are read equally."""
        latest, start = f"latest_{target}", f"start_{target}"
        self.latest.append(latest)
        yield from (f"if {latest} and data.startswith({latest}, p):", f"    p += len({latest})")
        yield from ("else:", f"    {start} = p", *_indented(self.read(type_, target)))
        yield f"    {latest} = data[{start}:p]"

    def _read_array(self, items: AvroType, target: str) -> Iterator[str]:
        size, item = f"size_{next(self._numbers)}", f"item_{next(self._numbers)}"
        yield from (f"{target} = []", "while True:", f"    {size} = data[p]", "    p += 1")
        yield from (f"    if {size} & 129:", f"        {size}, p = read_block(data, {size}, p)")
        yield from ("    else:", f"        {size} >>= 1", f"    if not {size}:", "        break")
        yield from (f"    if len({target}) + {size} > max_items:", "        raise AvroDecodeError(too_many_items)")
        yield f"    for _ in range({size}):"
        yield from _indented(_indented(self.read(items, item)))
        yield f"        {target}.append({item})"


def _read_primitive(type_: AvroType, target: str) -> Iterator[str]:
    if type_ is Primitive.TIMESTAMP_MICROS:
        yield from (f"{target} = read_timestamp_fast(data[p : p + 8])", f"if {target} is None:")
        yield f"    {target}, p = read_varint(data, data[p], p + 1)"
        yield from ("else:", "    p += 8")
        return
    yield from ("n = data[p]", "p += 1")
    match type_:
        case Primitive.STRING:
            # Hashes and user ids often have a length of two bytes, rarely of three.
            yield from ("if n & 129:", "    if n & 1 or data[p] > 127:")
            yield from ("        n, p = read_length(data, n, p)", "        q = p + n", "    else:")
            yield from ("        q = p + 1 + (n >> 1 & 63 | data[p] << 6)", "        p += 1")
            yield from ("else:", "    q = p + (n >> 1)", f"{target} = text[p:q]")
            yield from (f"if not {target}.isascii():", f"    {target} = data[p:q].decode()", "p = q")
        case Primitive.INT | Primitive.LONG:
            read = "read_int" if type_ is Primitive.INT else "read_varint"
            yield from ("if n > 127:", "    if data[p] > 127:", f"        {target}, p = {read}(data, n, p)")
            yield from ("    else:", f"        {target} = (n >> 1 & 63 | data[p] << 6) ^ -(n & 1)", "        p += 1")
            yield from ("else:", f"    {target} = n >> 1 ^ -(n & 1)")
        case Primitive.DECIMAL:
            yield from ("if n & 129:", "    raise AvroDecodeError(invalid_amount)", "q = p + (n >> 1)")
            yield from (f"{target} = read_amount(data[p:q])", "p = q")
        case Primitive.BOOLEAN:
            yield from ("if n > 1:", "    raise AvroDecodeError(invalid_boolean)", f"{target} = n == 1")
        case Enum(name):
            yield from (f"{target} = numbered_{name}.get(n)", f"if {target} is None:")
            yield "    raise AvroDecodeError(invalid_symbol)"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}"
