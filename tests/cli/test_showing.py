"""What the operator's commands print."""

from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner

from services.chassis.runtime.settings import REPOSITORY
from services.cli.run_command import print_table
from tools import generate_docs
from tools.__main__ import app

NAME = "fulfilment.transactions.v1.dlq/11/1234567"


def a_table() -> Table:
    table = Table("letter", "detail", "from")
    table.add_row(NAME, "the first byte is not zero " * 3, NAME)
    return table


def test_a_table_in_a_pipe_has_every_cell_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(a_table())
    assert capsys.readouterr().out.count(NAME) == 2


def test_on_a_narrow_screen_cells_are_folded_and_nothing_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    print_table(a_table())
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert max(map(len, lines)) <= 60
    assert "".join(line.split("│")[1].strip() for line in lines) == NAME
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("stale", "code", "told"),
    [([], 0, ""), ([REPOSITORY / "a.md"], 1, "out of date: a.md (run 'make docs')\n")],
    ids=["all is well", "one is stale"],
)
def test_a_document_that_is_out_of_date_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, stale: list[Path], code: int, told: str
) -> None:
    monkeypatch.setattr(generate_docs, "stale", lambda: stale)
    done = CliRunner().invoke(app, ["check-docs"])
    assert (done.exit_code, done.output) == (code, told)


def test_settings_stand_under_one_heading_for_each_service_and_can_be_copied() -> None:
    text = generate_docs.documents()[generate_docs.DIRECTORY / "configuration.md"]
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(headings) == len(set(headings))
    assert text.index("Settings of auth.") < text.index("Settings of the commands about sites and clients")
    assert "| `FULFILMENT_DEADLINE` | `P7D` |" in text
