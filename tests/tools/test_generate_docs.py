"""Generated documents: the check for stale ones, and the configuration page."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.chassis.runtime.settings import REPOSITORY
from tools import generate_docs
from tools.__main__ import app


@pytest.mark.parametrize(
    ("stale", "exit_code", "message"),
    [([], 0, ""), ([REPOSITORY / "a.md"], 1, "out of date: a.md (run 'make docs')\n")],
    ids=["all is well", "one is stale"],
)
def test_a_document_that_is_out_of_date_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, stale: list[Path], exit_code: int, message: str
) -> None:
    monkeypatch.setattr(generate_docs, "find_stale", lambda: stale)
    result = CliRunner().invoke(app, ["check-docs"])
    assert (result.exit_code, result.output) == (exit_code, message)


def test_settings_stand_under_one_heading_for_each_service_and_can_be_copied() -> None:
    text = generate_docs.build_documents()[generate_docs.DOCS / "configuration.md"]
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(headings) == len(set(headings))
    assert text.index("Settings of auth.") < text.index("Settings of the commands that manage sites and clients")
    assert "| `FULFILMENT_DEADLINE` | `P7D` |" in text
