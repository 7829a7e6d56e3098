"""Schema rules: released versions never change, new ones stay compatible."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY
from services.cli import schema_compatibility
from services.cli.schemas import commands

Change = Callable[[dict[str, Any]], None]
OPTIONAL = {"name": "colour", "type": ["null", "string"], "default": None, "doc": "Colour."}


# Orders have as many versions as there are by now; the tests add the next one.
NEWEST = Schemas.load(REPOSITORY / "schemas")["order"].number


def test_our_own_schemas_break_nobody() -> None:
    assert schema_compatibility.find_violations(REPOSITORY / "schemas") == []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the project's schemas, all released."""
    copy = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", copy)
    schema_compatibility.release(copy)
    return copy


def change(directory: Path, name: str, apply: Change) -> None:
    path = directory / f"{name}.avsc"
    definition = json.loads(path.read_text())
    apply(definition)
    path.write_text(json.dumps(definition))


def add(field: dict[str, Any]) -> Change:
    return lambda definition: definition["fields"].append(field)


def drop(name: str) -> Change:
    def apply(definition: dict[str, Any]) -> None:
        definition["fields"] = [field for field in definition["fields"] if field["name"] != name]

    return apply


def retype(name: str, kind: Any) -> Change:
    def apply(definition: dict[str, Any]) -> None:
        for field in definition["fields"]:
            if field["name"] == name:
                field["type"] = kind

    return apply


def next_version(directory: Path, name: str, apply: Change) -> list[str]:
    schema_compatibility.add_version(directory, name)
    change(directory, name, apply)
    return schema_compatibility.find_violations(directory)


def test_what_is_released_cannot_be_changed(directory: Path) -> None:
    change(directory, "order", drop("currency"))
    differs, reason, *_ = schema_compatibility.find_violations(directory)
    assert differs.startswith(f"order.avsc differs from its released version {NEWEST}")
    assert "schemas next order" in differs
    assert reason.startswith(f"Version {NEWEST + 1} of order.avsc must be FULL_TRANSITIVE")
    assert "version 1 cannot read what it writes" in reason
    assert "currency" in reason


@pytest.mark.parametrize("name", ["order", "return", "record_rejected", "job_event", "product", "site"])
def test_an_optional_field_breaks_nobody(directory: Path, name: str) -> None:
    assert next_version(directory, name, add(OPTIONAL)) == []


@pytest.mark.parametrize(
    ("name", "apply", "reason"),
    [
        ("order", add({"name": "colour", "type": "string", "doc": "Colour."}), "it cannot read what version 1 wrote"),
        ("order", drop("userId"), "version 1 cannot read what it writes"),
        ("order", drop("couponCode"), None),
        ("order", retype("utcOffsetMinutes", "long"), "version 1 cannot read what it writes"),
        ("order", retype("utcOffsetMinutes", "string"), "it cannot read what version 1 wrote"),
        ("return", retype("lineItems", {"type": "array", "items": "string"}), "it cannot read what version 1 wrote"),
        # Only this system reads what others write, so old readers need not understand it.
        ("product", retype("site", "double"), None),
        ("product", drop("productId"), None),
        ("product", add({"name": "colour", "type": "string", "doc": "C."}), "it cannot read what version 1 wrote"),
        ("site", drop("site"), "version 1 cannot read what it writes"),
    ],
)
def test_a_version_that_would_break_a_reader_is_told_with_its_reason(
    directory: Path, name: str, apply: Change, reason: str | None
) -> None:
    sentences = next_version(directory, name, apply)
    assert any(reason in sentence for sentence in sentences) if reason else sentences == []
    newest = max(map(int, json.loads((directory / "ids.json").read_text())[name]))
    assert all(sentence.startswith(f"Version {newest} of {name}.avsc must be ") for sentence in sentences)


def test_all_versions_count_not_only_the_last(directory: Path) -> None:
    """A removed field may not return with another type."""
    assert next_version(directory, "order", drop("couponCode")) == []
    schema_compatibility.release(directory)
    as_number = {"name": "couponCode", "type": ["null", "long"], "default": None, "doc": "A coupon."}
    sentences = next_version(directory, "order", add(as_number))
    assert "version 1" in sentences[0]
    assert all(f"version {NEWEST + 1} " not in sentence for sentence in sentences)


def test_what_is_released_is_not_released_again(directory: Path) -> None:
    assert schema_compatibility.release(directory) == []
    next_version(directory, "order", add(OPTIONAL))
    assert schema_compatibility.release(directory) == [f"order {NEWEST + 1}"]


def test_a_new_version_has_a_new_id(directory: Path) -> None:
    before = {schema.schema_id for schema in Schemas.load(directory).values()}
    number, schema_id = schema_compatibility.add_version(directory, "order")
    assert number == NEWEST + 1
    assert schema_id not in before
    assert Schemas.load(directory)["order"].schema_id == schema_id


def test_a_draft_is_no_reason_for_another_draft(directory: Path) -> None:
    schema_compatibility.add_version(directory, "order")
    with pytest.raises(ValueError, match="not released yet"):
        schema_compatibility.add_version(directory, "order")
    with pytest.raises(ValueError, match="unknown schema"):
        schema_compatibility.add_version(directory, "purchase")


def test_what_is_broken_is_not_released(directory: Path) -> None:
    next_version(directory, "order", drop("userId"))
    with pytest.raises(ValueError, match="FULL_TRANSITIVE"):
        schema_compatibility.release(directory)


def test_schemas_that_cannot_be_read_are_told(directory: Path) -> None:
    (directory / "order.avsc").unlink()
    (sentence,) = schema_compatibility.find_violations(directory)
    assert sentence.startswith("The schemas cannot be read")


def test_the_command_fails_where_a_schema_would_break_a_reader(directory: Path) -> None:
    def check() -> Result:
        return CliRunner().invoke(commands, ["check"], env={"SCHEMAS_DIR": str(directory)})

    assert (check().exit_code, check().output) == (0, "")
    change(directory, "order", drop("currency"))
    assert check().exit_code == 1
    assert f"order.avsc differs from its released version {NEWEST}" in check().output
