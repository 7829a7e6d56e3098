"""Source of functions that write records of a schema: one for each record type, and one for arrays of it.

A function returns a text of one character per byte. That is faster than joining bytes: one f-string makes a record,
and one `encode` at the end turns all of it into bytes. Strings that are not ASCII are converted to such texts first.
"""

from collections.abc import Sequence

from services.avro.schema import Array, AvroType, Enum, Field, Optional, Primitive, RecordType, Union

_EXPRESSIONS: dict[AvroType, str] = {
    Primitive.STRING: "f'{{lengths[len({0})]}}{{{0}}}'",
    Primitive.INT: "numbers[{0}]",
    Primitive.LONG: "numbers[{0}]",
    Primitive.TIMESTAMP_MICROS: "encode_timestamp({0})",
    Primitive.DECIMAL: "write_amount({0})",
    Array(Primitive.STRING): "write_strings({0})",
    Primitive.BOOLEAN: "(true if {0} else null)",
}
_STRINGS = (Primitive.STRING, Optional(Primitive.STRING))
WRITE_STRINGS = """
def write_strings(strings):
    if not strings:
        return null
    if not is_ascii and not "".join(strings).isascii():
        strings = [as_latin1(string) for string in strings]
    return lengths[len(strings)] + "".join([f"{lengths[len(string)]}{string}" for string in strings]) + null
"""


def writer_name(record: RecordType, *, after: str | None = None) -> str:
    """Return the name of the function that `writer_source` defines."""
    return f"write_{record.name}" if after is None else f"write_{record.name}_after_{after}"


def writer_source(record: RecordType, *, after: str | None = None, is_ascii: bool = False) -> str:
    """Return the source of a function that writes a record; with `after`, only the fields behind that one.

    With `is_ascii` it takes all strings for ASCII and does not check them.
    """
    fields = record.fields
    if after is not None:
        fields = fields[[field.name for field in fields].index(after) + 1 :]
    lines = [f"def {writer_name(record, after=after)}(record):", *_body(fields, "    return {}", is_ascii=is_ascii), ""]
    return "\n".join(lines)


def array_writer_source(record: RecordType, *, is_ascii: bool = False) -> str:
    """Return the source of a function that writes an array of records: one call for all of them."""
    body = _body(record.fields, "    parts.append({})", is_ascii=is_ascii)
    return "\n".join(
        (
            f"def {_array_writer_name(record)}(records):",
            "    if not records:",
            "        return null",
            "    parts = []",
            "    for record in records:",
            *(f"    {line}" for line in body),
            "    return lengths[len(records)] + empty.join(parts) + null",
            "",
        )
    )


def _array_writer_name(record: RecordType) -> str:
    return f"write_array_of_{record.name}"


def _body(fields: Sequence[Field], last: str, *, is_ascii: bool) -> list[str]:
    """Lines that make a text of a record's fields; `last` is what to do with it."""
    lines = [f"    {field.name}_ = record.{field.name}" for field in fields]
    if not is_ascii:
        lines += _conversion_source([f"{field.name}_" for field in fields if field.type in _STRINGS])
    text = "".join(_piece(field.type, f"{field.name}_") for field in fields)
    return [*lines, last.format(f'f"{text}"')]


def _conversion_source(strings: list[str]) -> list[str]:
    if not strings:
        return []
    together = "".join(f"{{{string}}}" for string in strings)
    return [
        f'    if not f"{together}".isascii():',
        *(f"        {string} = {string} and as_latin1({string})" for string in strings),
    ]


def _piece(type_: AvroType, value: str) -> str:
    """A piece of the f-string."""
    if type_ is Primitive.STRING:
        return f"{{lengths[len({value})]}}{{{value}}}"
    return f"{{{_expression(type_, value)}}}"


def _expression(type_: AvroType, value: str) -> str:
    match type_:
        case RecordType():
            return f"{writer_name(type_)}({value})"
        case Enum(name):
            return f"symbols_{name}[{value}]"
        case Union():
            return f"writers[type({value})]({value})"
        case Array(RecordType() as items):
            return f"{_array_writer_name(items)}({value})"
        case Optional(inner):
            written = f"present + {_expression(inner, value)}"
            if inner is Primitive.STRING:
                written = f"f'{{present}}{{lengths[len({value})]}}{{{value}}}'"
            return f"(null if {value} is None else {written})"
    return _EXPRESSIONS[type_].format(value)
