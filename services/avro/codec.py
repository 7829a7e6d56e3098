"""Records to Avro and back, by code that is made from the schema when a service starts.

What it writes equals, byte for byte, what any Avro library writes; the tests hold it to that.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import DecimalException
from typing import Any, Generic, TypeVar

from services.avro.decimals import read_amount, write_amount
from services.avro.reader_codegen import reader_name, reader_source
from services.avro.schema import Array, AvroType, Enum, Optional, RecordType, Union, parse_schema
from services.avro.varints import (
    LENGTHS,
    NUMBERS,
    AvroDecodeError,
    VarintLengths,
    encode_varint,
    read_block,
    read_int,
    read_length,
    read_timestamp_fast,
    read_varint,
)
from services.avro.writer_codegen import TEXTS, writer_name, writer_source

__all__ = ["AvroDecodeError", "Codec"]

T = TypeVar("T")
JOB = "job"


class Codec(Generic[T]):
    """Reads and writes the records of one schema. `prefix` (a framing) goes before everything that is written.

    With `fields`, which must be adjacent, it reads and writes only these of the record.
    """

    def __init__(
        self,
        definition: Mapping[str, Any],
        types: Mapping[str, type],
        *,
        prefix: bytes = b"",
        fields: Collection[str] | None = None,
    ) -> None:
        record = parse_schema(definition)
        if fields is not None:
            record = RecordType(record.name, tuple(field for field in record.fields if field.name in fields))
        _check(record, types)
        self._prefix = prefix.decode("latin-1")
        self._fast = _compiled(record, types, LENGTHS)
        # Texts and arrays longer than the table of lengths.
        self._general = _compiled(record, types, VarintLengths())
        self._name = writer_name(record)
        self._rest = writer_name(record, after=JOB)
        self._write = self._fast[self._name]
        self._read = self._fast[reader_name(record)]

    def encode(self, record: T) -> bytes:
        """The record as bytes. Raises `ValueError` for one that the schema cannot hold: the rules come first."""
        try:
            return f"{self._prefix}{self._write(record)}".encode("latin-1")
        except IndexError:
            return f"{self._prefix}{self._general[self._name](record)}".encode("latin-1")
        except (KeyError, DecimalException) as wrong:
            raise ValueError("not a record of the schema") from wrong

    def job_record_encoder(self, site: int, job: Any) -> Callable[[T, int], bytes]:
        """Return a function that encodes records as those of a job, whatever their own `site` and `job` are.

        For orders and returns. `job` is the reference that the record of index 0 carries; what all records of the job
        begin with is encoded once.
        """
        reference = self._general["write_JobRef"](job)
        head = f"{encode_varint(len(job.job_id))}{job.job_id}"
        before = f"{self._prefix}{encode_varint(site)}\2{head}"
        behind = reference[len(head) + 1 :]
        rest, long_rest = self._fast[self._rest], self._general[self._rest]

        def encode(record: T, index: int) -> bytes:
            try:
                return f"{before}{NUMBERS[index]}{behind}{rest(record)}".encode("latin-1")
            except IndexError:
                return f"{before}{NUMBERS[index]}{behind}{long_rest(record)}".encode("latin-1")
            except (KeyError, DecimalException) as wrong:
                raise ValueError("not a record of the schema") from wrong

        return encode

    def decode(self, data: bytes, *, start: int = 0) -> T:
        """The record whose bytes begin at `start` and end with `data`. Raises `Undecodable`, and nothing else."""
        try:
            record, end = self._read(data, data.decode("latin-1"), start)
        except IndexError:
            raise AvroDecodeError("ends too early") from None
        except UnicodeDecodeError:
            raise AvroDecodeError("a text is not UTF-8") from None
        if end != len(data):
            raise AvroDecodeError("ends too early" if end > len(data) else "bytes are left over")
        return record  # type: ignore[no-any-return]  # what generated code returns


def _compiled(record: RecordType, types: Mapping[str, type], lengths: list[str] | VarintLengths) -> dict[str, Any]:
    records = list(_types_of(record, RecordType))
    names: dict[str, Any] = {
        **types,
        "Undecodable": AvroDecodeError,
        "bytewise": _as_latin1,
        "empty": "",
        "lengths": lengths,
        "none": "\0",
        "numbers": NUMBERS,
        "read_amount": read_amount,
        "read_block": read_block,
        "read_int": read_int,
        "read_length": read_length,
        "read_varint": read_varint,
        "some": "\2",
        "true": "\1",
        "usual_stamp": read_timestamp_fast,
        "varint": encode_varint,
        "write_amount": write_amount,
        "no_amount": "an amount has too many digits, or none",
        "no_branch": "a union has no such branch",
        "no_symbol": "an enumeration has no such symbol",
        "no_truth": "a boolean is neither true nor false",
    }
    for enum in _types_of(record, Enum):
        names[f"symbols_{enum.name}"] = {symbol: encode_varint(number) for number, symbol in enumerate(enum.symbols)}
        names[f"numbered_{enum.name}"] = {2 * number: symbol for number, symbol in enumerate(enum.symbols)}
    source = [TEXTS, *(writer_source(part) for part in records), reader_source(record)]
    if any(field.name == JOB for field in record.fields):
        source.append(writer_source(record, after=JOB))
    exec("\n".join(source), names)  # noqa: S102 - the source is made from our own schemas, at start
    names["writers"] = {
        types[branch.name]: _branch(encode_varint(number), names[writer_name(branch)])
        for union in _types_of(record, Union)
        for number, branch in enumerate(union.branches)
    }
    return names


def _branch(number: str, write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda record: number + write(record)


def _as_latin1(text: str) -> str:
    return text.encode().decode("latin-1")


P = TypeVar("P", RecordType, Enum, Union)


def _types_of(kind: AvroType, sort: type[P]) -> Iterator[P]:
    """All parts of a schema of one sort, the inner ones first; some more than once."""
    match kind:
        case RecordType(_, fields):
            for field in fields:
                yield from _types_of(field.type, sort)
        case Array(of) | Optional(of):
            yield from _types_of(of, sort)
        case Union(of):
            for record in of:
                yield from _types_of(record, sort)
    if isinstance(kind, sort):
        yield kind


def _check(record: RecordType, types: Mapping[str, type]) -> None:
    """The structs are the schema's: a difference shows when a service starts, not in a record."""
    for part in _types_of(record, RecordType):
        names = tuple(field.name for field in part.fields)
        if getattr(types[part.name], "__struct_fields__", None) != names:
            raise ValueError(f"{part.name} of the schema has the fields {names}")
