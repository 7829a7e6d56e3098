"""Source of functions that write records of a schema, one function for each record type.

A function returns a text of one character per byte. That is faster than joining bytes: one f-string makes a record,
and one `encode` at the end turns all of it into bytes. Texts that are not ASCII are turned into such characters first.
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

_SIMPLE: dict[type, str] = {
    String: "f'{{lengths[len({0})]}}{{{0}}}'",
    Int: "numbers[{0}]",
    Long: "numbers[{0}]",
    TimestampMicros: "varint({0})",
    DecimalBytes: "write_amount({0})",
    Boolean: "(true if {0} else none)",
}
TEXTS = """
def write_texts(texts):
    if not texts:
        return none
    if not "".join(texts).isascii():
        texts = [bytewise(text) for text in texts]
    return lengths[len(texts)] + "".join([f"{lengths[len(text)]}{text}" for text in texts]) + none
"""


def writer_name(record: RecordType, *, after: str | None = None) -> str:
    """What the function is called."""
    return f"write_{record.name}" if after is None else f"write_{record.name}_after_{after}"


def writer_source(record: RecordType, *, after: str | None = None) -> str:
    """The function that writes a record; with `after`, only the fields behind that one."""
    fields = record.fields
    if after is not None:
        fields = fields[[field.name for field in fields].index(after) + 1 :]
    lines = [f"def {writer_name(record, after=after)}(record):"]
    lines += [f"    {field.name}_ = record.{field.name}" for field in fields]
    lines += _bytewise([f"{field.name}_" for field in fields if _is_text(field)])
    lines += [f'    return f"{"".join(_piece(field.type, f"{field.name}_") for field in fields)}"', ""]
    return "\n".join(lines)


def _is_text(field: Field) -> bool:
    return isinstance(field.type, String) or (isinstance(field.type, Optional) and isinstance(field.type.inner, String))


def _bytewise(texts: list[str]) -> list[str]:
    if not texts:
        return []
    together = "".join(f"{{{text}}}" for text in texts)
    return [
        f'    if not f"{together}".isascii():',
        *(f"        {text} = {text} and bytewise({text})" for text in texts),
    ]


def _piece(kind: AvroType, value: str) -> str:
    """A piece of the f-string."""
    if isinstance(kind, String):
        return f"{{lengths[len({value})]}}{{{value}}}"
    return f"{{{_expression(kind, value)}}}"


def _expression(kind: AvroType, value: str) -> str:
    match kind:
        case RecordType() | Enum() | Union():
            return _named(kind, value)
        case Array(String()):
            return f"write_texts({value})"
        case Array(RecordType() as of):
            return f"(lengths[len({value})] + empty.join(map({writer_name(of)}, {value})) + none if {value} else none)"
        case Optional(of):
            return f"(none if {value} is None else some + {_expression(of, value)})"
    return _SIMPLE[type(kind)].format(value)


def _named(kind: RecordType | Enum | Union, value: str) -> str:
    if isinstance(kind, RecordType):
        return f"{writer_name(kind)}({value})"
    return f"symbols_{kind.name}[{value}]" if isinstance(kind, Enum) else f"writers[type({value})]({value})"
