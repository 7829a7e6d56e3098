"""Decoding the bytes of any record."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.__main__ import app
from services.chassis.avro.record_decoder import DecodedRecord, decode_record, escape_bytes, parse_bytes
from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from tests.validator.records import SCHEMAS, a_job, an_order, as_bytes

ORDER = as_bytes(an_order(job=a_job()))


def test_an_order_is_shown_with_its_schema() -> None:
    result = decode_record(ORDER, (), SCHEMAS)
    assert isinstance(result, DecodedRecord)
    assert (result.schema, result.version, result.schema_id) == (
        "order",
        SCHEMAS["order"].number,
        SCHEMAS["order"].schema_id,
    )
    shown = json.loads(result.text)
    assert shown["id"] == "1723ABC"
    assert shown["acceptedAt"] == "2025-06-15T15:06:40Z"
    assert '"unitPrice": 256.678000' in result.text
    assert shown["job"]["type"] == "orders"


def test_the_newer_framing_is_read_too() -> None:
    result = decode_record(ORDER[LENGTH:], ((HEADER, prefix(SCHEMAS["order"].schema_id)),), SCHEMAS)
    assert isinstance(result, DecodedRecord)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "The wire format is unknown: no room for a schema id."),
        (b"{}", "The wire format is unknown: no room for a schema id."),
        (b"\x05" + ORDER[1:], "The wire format is unknown: the first byte is not zero."),
        (prefix(999_999) + ORDER[LENGTH:], "No schema has the id 999999."),
        (ORDER[:-3], "bytes are not a valid order: EOFError"),
        (ORDER + b"xyz", "3 bytes are left over."),
    ],
)
def test_why_bytes_are_no_record_is_told(value: bytes | None, reason: str) -> None:
    result = decode_record(value, (), SCHEMAS)
    assert isinstance(result, str)
    assert reason in result


@pytest.mark.parametrize(
    "text",
    ["00ff10", "00 ff 10", "00:FF:10", "0x00ff10", "AP8Q", "00ff10\n", "AP8Q\n"],
)
def test_bytes_are_taken_in_hexadecimal_and_in_base64(text: str) -> None:
    assert parse_bytes(text.encode()) == b"\x00\xff\x10"


@pytest.mark.parametrize("text", ["0x", "not bytes!", "zz"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        parse_bytes(text.encode())


def test_what_cannot_be_printed_is_escaped() -> None:
    assert escape_bytes(b"a\n\xff\x1b[31m") == "a\\n\\\\xff\\x1b[31m"
    assert escape_bytes(None) == "null"


@pytest.mark.parametrize("how", ["hex", "base64", "file", "stdin", "header"])
def test_the_command_shows_a_record(tmp_path: Path, how: str) -> None:
    path = tmp_path / "order.bin"
    path.write_bytes(ORDER)
    arguments = {
        "hex": ["decode", ORDER.hex()],
        "base64": ["decode", b64encode(ORDER).decode()],
        "file": ["decode", "--file", str(path)],
        "stdin": ["decode", "-"],
        "header": ["decode", ORDER[LENGTH:].hex(), "--header", b64encode(ORDER[:LENGTH]).decode()],
    }[how]
    result = CliRunner().invoke(app, arguments, input=ORDER.hex())
    assert result.exit_code == 0, result.output
    assert '"id": "1723ABC"' in result.output
    assert f"order, version {SCHEMAS['order'].number}, id {SCHEMAS['order'].schema_id}" in result.output


def test_the_command_says_why_not(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["decode", ORDER[:20].hex()])
    assert result.exit_code == 1
    assert "are not a valid order" in result.output
    path = tmp_path / "order.bin"
    path.write_bytes(ORDER)
    for neither_or_both in ([], [ORDER.hex(), "--file", str(path)]):
        assert CliRunner().invoke(app, ["decode", *neither_or_both]).exit_code == 2
