"""Decodes the bytes of any record to readable JSON."""

import io
import re
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from fastavro import schemaless_reader

from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import UnknownWireFormatError, parse_wire_format

_ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
_HEX = re.compile(rb"(?:0x)?(?:[0-9a-fA-F]{2}[\s:]*)+")


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """A record and the schema that it was written with."""

    schema: str
    version: int
    schema_id: int
    record: Any

    @property
    def text(self) -> str:
        """The record as indented JSON: exact amounts, times in UTC."""
        return msgspec.json.format(_ENCODER.encode(self.record), indent=2).decode()


def decode_record(
    value: bytes | None, headers: Iterable[tuple[str, bytes | None]], schemas: Schemas
) -> DecodedRecord | str:
    """Return the record, or a sentence why the bytes cannot be decoded."""
    try:
        reference, start = parse_wire_format(value, headers)
    except UnknownWireFormatError as error:
        return f"The wire format is unknown: {error}."
    version = schemas.by_id(reference)
    if version is None:
        return f"No schema has the id {reference}."
    body = (value or b"")[start:]
    stream = io.BytesIO(body)
    try:
        # Where a field is a union of records, the name of the branch is shown.
        record = schemaless_reader(
            stream, version.parsed, None, return_record_name=True, return_record_name_override=True
        )
    except Exception as error:  # noqa: BLE001 - fastavro raises many types for broken bytes
        return f"The {len(body)} bytes are not a valid {version.name}: {type(error).__name__} at byte {stream.tell()}."
    if stream.tell() != len(body):
        return f"After a {version.name} of {stream.tell()} bytes, {len(body) - stream.tell()} bytes are left over."
    return DecodedRecord(version.name, version.number, version.schema_id, record)


def parse_bytes(text: bytes) -> bytes:
    """Parse hexadecimal or base64; raises ValueError for anything else."""
    stripped = text.strip()
    if _HEX.fullmatch(stripped):
        return bytes.fromhex(re.sub(rb"[\s:]|^0x", b"", stripped).decode())
    try:
        return b64decode(b"".join(stripped.split()), validate=True)
    except NotBase64Error as error:
        raise ValueError("neither hexadecimal nor base64") from error


def escape_bytes(content: bytes | None) -> str:
    """Return bytes as one line of text; unprintable characters are escaped."""
    if content is None:
        return "null"
    return content.decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
