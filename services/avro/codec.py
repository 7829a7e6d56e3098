"""Codecs between typed records and Avro bytes, by code that is generated from the schema when a service starts.

They write what any Avro library writes, byte for byte; tests compare both.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import DecimalException
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from services.avro.decimals import read_amount, write_amount
from services.avro.reader_codegen import reader_name, reader_source
from services.avro.schema import Array, AvroType, Enum, Optional, RecordType, Union, parse_schema
from services.avro.varints import (
    LENGTHS,
    NUMBERS,
    AvroDecodeError,
    VarintLengths,
    encode_timestamp,
    encode_varint,
    read_block,
    read_int,
    read_length,
    read_timestamp_fast,
    read_varint,
)
from services.avro.writer_codegen import WRITE_STRINGS, array_writer_source, writer_name, writer_source

__all__ = ["AvroDecodeError", "Codec"]

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes the records of one schema. `prefix` (a framing) goes before everything that is encoded.

    With `fields`, which must be adjacent, it encodes and decodes only these of the record. Arrays of more than
    `max_items` are not decoded. Arrays in fields that are `repeated` are decoded once where they follow each other
    unchanged; records then share a list.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        types: Mapping[str, type],
        *,
        prefix: bytes = b"",
        fields: Collection[str] | None = None,
        max_items: int = sys.maxsize,
        repeated: Collection[str] = (),
    ) -> None:
        record = parse_schema(definition)
        if fields is not None:
            record = RecordType(record.name, tuple(field for field in record.fields if field.name in fields))
        _check(record, types)
        self._record = record
        self.prefix = prefix.decode("latin-1")
        self._compile = partial(_compile, record, types, max_items, repeated)
        self._fast = self._compile(LENGTHS)
        # For strings and arrays longer than the table of lengths.
        self._general = self._compile(VarintLengths())
        self._name = writer_name(record)
        self._write = self._fast[self._name]
        self._read = self._fast[reader_name(self._record)]

    def encode(self, record: T) -> bytes:
        """Encode a record. Raises `ValueError` for one that the schema cannot hold: check the rules first."""
        try:
            return f"{self.prefix}{self._write(record)}".encode("latin-1")
        except IndexError:
            return f"{self.prefix}{self._general[self._name](record)}".encode("latin-1")
        except (KeyError, DecimalException) as error:
            raise ValueError("not a record of the schema") from error

    @cached_property
    def _fast_ascii(self) -> dict[str, Any]:
        return self._compile(LENGTHS, is_ascii=True)

    def numbered_encoder(
        self, before: str, behind: str, *, after: str, is_ascii: bool = False
    ) -> Callable[[T, int], bytes]:
        """Return an encoder of a record's fields after the field `after`, which takes the record and a number.

        `before`, the number and `behind`, as text of one character per byte, replace what goes before these fields.
        With `is_ascii`, all strings of the records must be ASCII; they are not checked.
        """
        write = self._writer_after(after, self._fast_ascii if is_ascii else self._fast)
        write_general = self._writer_after(after, self._general)

        def encode(record: T, number: int) -> bytes:
            try:
                return f"{before}{NUMBERS[number]}{behind}{write(record)}".encode("latin-1")
            except IndexError:
                return f"{before}{NUMBERS[number]}{behind}{write_general(record)}".encode("latin-1")
            except (KeyError, DecimalException) as error:
                raise ValueError("not a record of the schema") from error

        return encode

    def text_writer(self, *, after: str) -> Callable[[Any], str]:
        """Return an encoder of the fields after the field `after`, to text of one character per byte.

        It takes anything that has these fields. Raises `KeyError` for what the schema cannot hold.
        """
        return self._writer_after(after, self._general)

    def _writer_after(self, after: str, names: dict[str, Any]) -> Callable[[Any], str]:
        name = writer_name(self._record, after=after)
        if name not in names:
            source = writer_source(self._record, after=after, is_ascii=names["is_ascii"])
            exec(source, names)  # noqa: S102 - made from our own schemas
        writer: Callable[[Any], str] = names[name]
        return writer

    def decode(self, data: bytes, *, start: int = 0) -> T:
        """Decode the record that begins at `start` and ends with `data`. Raises `AvroDecodeError`, and nothing else."""
        try:
            record, end = self._read(data, data.decode("latin-1"), start)
        except IndexError:
            raise AvroDecodeError("ends too early") from None
        except UnicodeDecodeError:
            raise AvroDecodeError("a text is not UTF-8") from None
        if end != len(data):
            raise AvroDecodeError("ends too early" if end > len(data) else "bytes are left over")
        return record  # type: ignore[no-any-return]  # what generated code returns


def _compile(
    record: RecordType,
    types: Mapping[str, type],
    max_items: int,
    repeated: Collection[str],
    lengths: list[str] | VarintLengths,
    *,
    is_ascii: bool = False,
) -> dict[str, Any]:
    """The functions of a schema, by name, and what they refer to."""
    names: dict[str, Any] = {
        **types,
        "AvroDecodeError": AvroDecodeError,
        "max_items": max_items,
        "as_latin1": _as_latin1,
        "empty": "",
        "encode_timestamp": encode_timestamp,
        "is_ascii": is_ascii,
        "lengths": lengths,
        "null": "\0",
        "numbers": NUMBERS,
        "present": "\2",
        "read_amount": read_amount,
        "read_block": read_block,
        "read_int": read_int,
        "read_length": read_length,
        "read_timestamp_fast": read_timestamp_fast,
        "read_varint": read_varint,
        "true": "\1",
        "write_amount": write_amount,
        "invalid_amount": "an amount has too many digits, or none",
        "invalid_boolean": "a boolean is neither true nor false",
        "invalid_branch": "a union has no such branch",
        "invalid_symbol": "an enumeration has no such symbol",
        "too_many_items": f"an array has more than {max_items} items",
    }
    for enum in _types_of(record, Enum):
        names[f"symbols_{enum.name}"] = {symbol: encode_varint(number) for number, symbol in enumerate(enum.symbols)}
        names[f"numbered_{enum.name}"] = {2 * number: symbol for number, symbol in enumerate(enum.symbols)}
    source = [
        WRITE_STRINGS,
        *(writer_source(part, is_ascii=is_ascii) for part in _types_of(record, RecordType)),
        *(
            array_writer_source(array.items, is_ascii=is_ascii)
            for array in _types_of(record, Array)
            if isinstance(array.items, RecordType)
        ),
        reader_source(record, repeated=repeated),
    ]
    exec("\n".join(source), names)  # noqa: S102 - the source is made from our own schemas, at start
    names["writers"] = {
        types[branch.name]: _branch_writer(encode_varint(number), names[writer_name(branch)])
        for union in _types_of(record, Union)
        for number, branch in enumerate(union.branches)
    }
    return names


def _branch_writer(number: str, write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda record: number + write(record)


def _as_latin1(text: str) -> str:
    return text.encode().decode("latin-1")


P = TypeVar("P", RecordType, Enum, Array, Union)


def _types_of(type_: AvroType, cls: type[P]) -> Iterator[P]:
    """Yield all types of a class within a type, the inner ones first; some more than once."""
    match type_:
        case RecordType(_, fields):
            for field in fields:
                yield from _types_of(field.type, cls)
        case Array(inner) | Optional(inner):
            yield from _types_of(inner, cls)
        case Union(branches):
            for branch in branches:
                yield from _types_of(branch, cls)
    if isinstance(type_, cls):
        yield type_


def _check(record: RecordType, types: Mapping[str, type]) -> None:
    """Raise `ValueError` if a struct's fields are not the schema's: at start, not when the first record comes."""
    for part in _types_of(record, RecordType):
        names = tuple(field.name for field in part.fields)
        if getattr(types[part.name], "__struct_fields__", None) != names:
            raise ValueError(f"{part.name} of the schema has the fields {names}")
