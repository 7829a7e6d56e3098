"""Source of functions that write records of a schema, one function for each record type.

A function returns a text of one character per byte. That is faster than joining bytes: one f-string makes a record,
and one `encode` at the end turns all of it into bytes. Texts that are not ASCII are turned into such characters first.
"""

from services.avro.schema import (
    Amount,
    Enum,
    Field,
    Int,
    Items,
    Kind,
    Long,
    Optional,
    Record,
    Stamp,
    Text,
    Truth,
    Union,
)

_SIMPLE: dict[type, str] = {
    Text: "f'{{lengths[len({0})]}}{{{0}}}'",
    Int: "numbers[{0}]",
    Long: "numbers[{0}]",
    Stamp: "varint({0})",
    Amount: "write_amount({0})",
    Truth: "(true if {0} else none)",
}
TEXTS = """
def write_texts(texts):
    if not texts:
        return none
    if not "".join(texts).isascii():
        texts = [bytewise(text) for text in texts]
    return lengths[len(texts)] + "".join([f"{lengths[len(text)]}{text}" for text in texts]) + none
"""


def writer_name(record: Record, *, after: str | None = None) -> str:
    """What the function is called."""
    return f"write_{record.name}" if after is None else f"write_{record.name}_after_{after}"


def writer_source(record: Record, *, after: str | None = None) -> str:
    """The function that writes a record; with `after`, only the fields behind that one."""
    fields = record.fields
    if after is not None:
        fields = fields[[field.name for field in fields].index(after) + 1 :]
    lines = [f"def {writer_name(record, after=after)}(record):"]
    lines += [f"    {field.name}_ = record.{field.name}" for field in fields]
    lines += _bytewise([f"{field.name}_" for field in fields if _is_text(field)])
    lines += [f'    return f"{"".join(_piece(field.kind, f"{field.name}_") for field in fields)}"', ""]
    return "\n".join(lines)


def _is_text(field: Field) -> bool:
    return isinstance(field.kind, Text) or (isinstance(field.kind, Optional) and isinstance(field.kind.of, Text))


def _bytewise(texts: list[str]) -> list[str]:
    if not texts:
        return []
    together = "".join(f"{{{text}}}" for text in texts)
    return [
        f'    if not f"{together}".isascii():',
        *(f"        {text} = {text} and bytewise({text})" for text in texts),
    ]


def _piece(kind: Kind, value: str) -> str:
    """A piece of the f-string."""
    if isinstance(kind, Text):
        return f"{{lengths[len({value})]}}{{{value}}}"
    return f"{{{_expression(kind, value)}}}"


def _expression(kind: Kind, value: str) -> str:
    match kind:
        case Record() | Enum() | Union():
            return _named(kind, value)
        case Items(Text()):
            return f"write_texts({value})"
        case Items(Record() as of):
            return f"(lengths[len({value})] + empty.join(map({writer_name(of)}, {value})) + none if {value} else none)"
        case Optional(of):
            return f"(none if {value} is None else some + {_expression(of, value)})"
    return _SIMPLE[type(kind)].format(value)


def _named(kind: Record | Enum | Union, value: str) -> str:
    if isinstance(kind, Record):
        return f"{writer_name(kind)}({value})"
    return f"symbols_{kind.name}[{value}]" if isinstance(kind, Enum) else f"writers[type({value})]({value})"
