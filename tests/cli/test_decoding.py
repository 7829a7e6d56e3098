"""Bytes as a person can read them, or why not."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.__main__ import app
from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from services.cli.decode import Decoded, bytes_of, decoded, visible
from services.topics import TOPICS
from tests.validator.records import SCHEMAS, a_job, an_order, as_bytes
from tools.topic_graph import mermaid

ORDER = as_bytes(an_order(job=a_job()))


def test_an_order_is_shown_with_its_schema() -> None:
    read = decoded(ORDER, (), SCHEMAS)
    assert isinstance(read, Decoded)
    assert (read.schema, read.version, read.schema_id) == ("order", 1, SCHEMAS["order"].schema_id)
    shown = json.loads(read.text)
    assert shown["id"] == "1723ABC"
    assert shown["acceptedAt"] == "2025-06-15T15:06:40Z"
    assert '"unitPrice": 256.678000' in read.text
    assert shown["job"]["type"] == "orders"


def test_the_newer_framing_is_read_too() -> None:
    read = decoded(ORDER[LENGTH:], ((HEADER, prefix(SCHEMAS["order"].schema_id)),), SCHEMAS)
    assert isinstance(read, Decoded)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "The framing is unknown: no room for a schema id."),
        (b"{}", "The framing is unknown: no room for a schema id."),
        (b"\x05" + ORDER[1:], "The framing is unknown: the first byte is not zero."),
        (prefix(999_999) + ORDER[LENGTH:], "No schema here has the id 999999."),
        (ORDER[:-3], "bytes are no order: EOFError"),
        (ORDER + b"xyz", "3 are left over."),
    ],
)
def test_why_bytes_are_no_record_is_told(value: bytes | None, why: str) -> None:
    read = decoded(value, (), SCHEMAS)
    assert isinstance(read, str)
    assert why in read


@pytest.mark.parametrize(
    "text",
    ["00ff10", "00 ff 10", "00:FF:10", "0x00ff10", "AP8Q", "00ff10\n", "AP8Q\n"],
)
def test_bytes_are_taken_in_hexadecimal_and_in_base64(text: str) -> None:
    assert bytes_of(text.encode()) == b"\x00\xff\x10"


@pytest.mark.parametrize("text", ["0x", "not bytes!", "zz"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        bytes_of(text.encode())


def test_what_cannot_be_printed_is_escaped() -> None:
    assert visible(b"a\n\xff\x1b[31m") == "a\\n\\\\xff\\x1b[31m"
    assert visible(None) == "null"


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
    done = CliRunner().invoke(app, arguments, input=ORDER.hex())
    assert done.exit_code == 0, done.output
    assert '"id": "1723ABC"' in done.output
    assert "order, version 1, id 1" in done.output


def test_the_command_says_why_not(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["decode", ORDER[:20].hex()])
    assert done.exit_code == 1
    assert "are no order" in done.output
    path = tmp_path / "order.bin"
    path.write_bytes(ORDER)
    for neither_or_both in ([], [ORDER.hex(), "--file", str(path)]):
        assert CliRunner().invoke(app, ["decode", *neither_or_both]).exit_code == 2


def test_the_picture_has_every_topic_with_its_writers_and_readers() -> None:
    drawn = mermaid(TOPICS)
    assert drawn.startswith("flowchart LR\n")
    for topic in TOPICS:
        assert f'[("{topic.name}")]' in drawn
    assert "  ingest --> orders_submitted_v1\n" in drawn
    assert "  orders_submitted_v1 --> validator\n" in drawn
