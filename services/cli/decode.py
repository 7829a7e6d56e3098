"""Any record's bytes as something a person can read, or why not."""

import io
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader

from services.chassis.avro.schemas import Schemas, SchemaVersion
from services.chassis.avro.wire_format import UnknownWireFormatError, parse_wire_format

_ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")
_HEX = re.compile(rb"(?:0x)?(?:[0-9a-fA-F]{2}[\s:]*)+")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record, and what it was written with."""

    schema: str
    version: int
    schema_id: int
    record: Any

    @property
    def text(self) -> str:
        """The record as JSON in several lines: amounts exact, times in UTC."""
        return msgspec.json.format(_ENCODER.encode(self.record), indent=2).decode()


def decoded(value: bytes | None, headers: Iterable[tuple[str, bytes | None]], schemas: Schemas) -> Decoded | str:
    """The record, or a sentence about why the bytes are none."""
    try:
        reference, start = parse_wire_format(value, headers)
    except UnknownWireFormatError as error:
        return f"The framing is unknown: {error}."
    version = schemas.by_id(reference)
    if version is None:
        return f"No schema here has the id {reference}."
    body = (value or b"")[start:]
    stream = io.BytesIO(body)
    try:
        # Where a field may hold several kinds of records, it is said which one it is.
        record = schemaless_reader(
            stream, _parsed(version), None, return_record_name=True, return_record_name_override=True
        )
    except Exception as error:  # noqa: BLE001 - fastavro raises whatever broken bytes happen to run into
        return f"The {len(body)} bytes are no {version.name}: {type(error).__name__} at byte {stream.tell()}."
    if stream.tell() != len(body):
        return f"After a {version.name} of {stream.tell()} bytes, {len(body) - stream.tell()} are left over."
    return Decoded(version.name, version.number, version.schema_id, record)


def _parsed(version: SchemaVersion) -> Any:
    return parse_schema(deepcopy(dict(version.definition)))


def bytes_of(text: bytes) -> bytes:
    """The bytes that a text tells in hexadecimal or in base64. Raises ValueError where it is neither."""
    stripped = text.strip()
    if _HEX.fullmatch(stripped):
        return bytes.fromhex(re.sub(rb"[\s:]|^0x", b"", stripped).decode())
    try:
        return b64decode(b"".join(stripped.split()), validate=True)
    except NotBase64 as error:
        raise ValueError("neither hexadecimal nor base64") from error


def visible(content: bytes | None) -> str:
    """Bytes as one line of text, what cannot be printed escaped."""
    if content is None:
        return "null"
    return content.decode("utf-8", "backslashreplace").encode("unicode_escape").decode()
