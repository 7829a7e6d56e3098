"""Source of functions that write records of a schema, one function for each record type.

A function returns a text of one character per byte. That is faster than joining bytes: one f-string makes a record,
and one `encode` at the end turns all of it into bytes. Strings that are not ASCII are converted to such texts first.
"""

from services.avro.schema import (
    Array,
    AvroType,
    Boolean,
    DecimalBytes,
    Enum,
    Field,
    Int,
    Long,
    Optional,
    RecordType,
    String,
    TimestampMicros,
    Union,
)

_EXPRESSIONS: dict[type, str] = {
    String: "f'{{lengths[len({0})]}}{{{0}}}'",
    Int: "numbers[{0}]",
    Long: "numbers[{0}]",
    TimestampMicros: "encode_varint({0})",
    DecimalBytes: "write_amount({0})",
    Boolean: "(true if {0} else null)",
}
WRITE_STRINGS = """
def write_strings(strings):
    if not strings:
        return null
    if not "".join(strings).isascii():
        strings = [as_latin1(string) for string in strings]
    return lengths[len(strings)] + "".join([f"{lengths[len(string)]}{string}" for string in strings]) + null
"""


def writer_name(record: RecordType, *, after: str | None = None) -> str:
    """Return the name of the function that `writer_source` defines."""
    return f"write_{record.name}" if after is None else f"write_{record.name}_after_{after}"


def writer_source(record: RecordType, *, after: str | None = None) -> str:
    """Return the source of a function that writes a record; with `after`, only the fields behind that one."""
    fields = record.fields
    if after is not None:
        fields = fields[[field.name for field in fields].index(after) + 1 :]
    lines = [f"def {writer_name(record, after=after)}(record):"]
    lines += [f"    {field.name}_ = record.{field.name}" for field in fields]
    lines += _conversion_source([f"{field.name}_" for field in fields if _is_string(field)])
    lines += [f'    return f"{"".join(_piece(field.type, f"{field.name}_") for field in fields)}"', ""]
    return "\n".join(lines)


def _is_string(field: Field) -> bool:
    return isinstance(field.type, String) or (isinstance(field.type, Optional) and isinstance(field.type.inner, String))


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
    if isinstance(type_, String):
        return f"{{lengths[len({value})]}}{{{value}}}"
    return f"{{{_expression(type_, value)}}}"


def _expression(type_: AvroType, value: str) -> str:
    match type_:
        case RecordType() | Enum() | Union():
            return _named_expression(type_, value)
        case Array(String()):
            return f"write_strings({value})"
        case Array(RecordType() as items):
            write = writer_name(items)
            return f"(lengths[len({value})] + empty.join(map({write}, {value})) + null if {value} else null)"
        case Optional(inner):
            return f"(null if {value} is None else present + {_expression(inner, value)})"
    return _EXPRESSIONS[type(type_)].format(value)


def _named_expression(type_: RecordType | Enum | Union, value: str) -> str:
    if isinstance(type_, RecordType):
        return f"{writer_name(type_)}({value})"
    return f"symbols_{type_.name}[{value}]" if isinstance(type_, Enum) else f"writers[type({value})]({value})"
