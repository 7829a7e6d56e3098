"""The command line without a server: help, credentials, and errors that say what to do."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tillstream.cli import login, orders
from tillstream.cli.main import main
from tillstream.cli.output import describe, progress_fields
from tillstream.errors import UnavailableError, UnreachableError
from tillstream.importer import Progress
from tillstream.manifest import Tally
from tillstream.profiles import Profile, ProfileError, load_profile, save_profile

pytestmark = pytest.mark.usefixtures("environment")

HEADER = "id,userId,dateTime,productId,quantity,unitPrice"
SECRET = "s3cret-canary"
CREDENTIALS = {
    "TILLSTREAM_BASE_URL": "http://127.0.0.1:9",
    "TILLSTREAM_CLIENT_ID": "c",
    "TILLSTREAM_CLIENT_SECRET": SECRET,
    "TILLSTREAM_API_KEY": "k",
}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Credentials, and directories of its own."""
    variables = {**CREDENTIALS, "TILLSTREAM_STATE_DIR": str(tmp_path / "state")}
    variables["TILLSTREAM_CONFIG_DIR"] = str(tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def run(*arguments: str, stdin: str | bytes = "") -> tuple[int, str]:
    """Return exit code and output of a command; an exception is a failure of the test."""
    result = CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)
    return result.exit_code, result.output


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that does something."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", sorted(commands(main)), ids=" ".join)
def test_the_help_of_each_command_has_an_example(path: tuple[str, ...]) -> None:
    code, text = run(*path, "--help")
    assert code == 0
    assert re.search(rf"\n  (.* \| )?tillstream (--profile test )?{' '.join(path)}( |\n)", text), text


WRONG = [
    ("a directory for the failed records", ("import", "sales.csv", "--kind", "orders", "--failed", "no/f.csv"), "no"),
    ("its own input", ("import", "sales.csv", "--kind", "orders", "--failed", "sales.csv"), "name another one"),
    ("another format", ("import", "sales.csv", "--kind", "orders", "--failed", "f.json"), ".csv or .tsv or .xlsx"),
    ("a zone", ("import", "sales.csv", "--kind", "orders", "--time-zone", "Nowhere"), "Europe/Berlin"),
    ("a map", ("import", "sales.csv", "--kind", "orders", "--map", "id"), "FIELD=COLUMN"),
    ("a field", ("import", "sales.csv", "--kind", "orders", "--map", "price=x"), "unitPrice"),
    ("a file", ("import", "none.csv", "--kind", "orders"), "none.csv cannot be read: No such file or directory"),
    ("a directory", ("import", ".", "--kind", "orders"), "name a file in it"),
    ("a place for the template", ("template", "orders", "--out", "no/t.csv"), "no/t.csv: No such file or directory"),
    ("a body", ("webhooks", "verify", "b", "--id", "i", "--timestamp", "1", "--signature", "s"), "b: No such file"),
    ("a quantity", ("orders", "place", "X"), "SKU=QUANTITY"),
    ("dimensions", ("report", "sales", "--by", "colour"), "day, month, channel"),
]


@pytest.mark.parametrize(("arguments", "message"), [line[1:] for line in WRONG], ids=[line[0] for line in WRONG])
def test_wrong_usage_is_said_before_anything_is_sent(arguments: tuple[str, ...], message: str) -> None:
    Path("sales.csv").write_text(f"{HEADER}\n1,u,2024-05-01T10:00:00Z,4556,1,1\n")
    code, text = run(*arguments)
    assert code == 2, text
    assert message in text
    assert Path("sales.csv").read_text().startswith(HEADER)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://[x", "http://x:99999"])
def test_an_address_that_is_none_is_said_to_be(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TILLSTREAM_BASE_URL", url)
    for arguments in (("jobs", "list"), ("login",)):
        code, text = run(*arguments)
        assert code == 2
        assert "https://tillstream.example" in text
    monkeypatch.delenv("TILLSTREAM_BASE_URL")
    monkeypatch.delenv("TILLSTREAM_API_KEY")
    code, text = run("jobs", "list")
    assert code == 2
    assert "lacks base_url, api_key" in text
    assert "TILLSTREAM_API_KEY" in text


def test_a_server_that_is_not_reached_ends_a_command_soon() -> None:
    Path("sales.csv").write_text(f"{HEADER}\n1,u,2024-05-01T10:00:00Z,4556,1,1\n")
    code, text = run("import", "sales.csv", "--kind", "orders")
    assert code == 5
    assert "cannot reach http://127.0.0.1:9" in text
    assert "check the address" in text
    assert SECRET not in text


def test_nothing_of_a_pipe_is_kept_that_could_not_be_imported(tmp_path: Path) -> None:
    code, text = run("import", "-", "--kind", "orders", stdin="a,b\n1,2\n")
    assert code == 2, text
    assert list((tmp_path / "state" / "spool").iterdir()) == []


def test_a_login_asks_for_what_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not show the secret that is entered."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    code, text = run("login", "--no-check", stdin=f"http://x/\nc\n{SECRET}\nk\n")
    assert code == 0, text
    assert SECRET not in text
    stored = load_profile(None, {"TILLSTREAM_CONFIG_DIR": str(tmp_path / "config")})
    assert stored == Profile("http://x", "c", SECRET, "k")


def test_a_login_at_an_address_that_is_not_reached_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "MAX_WAIT_S", 0)
    code, text = run("login")
    assert code == 5
    assert "cannot reach http://127.0.0.1:9" in text


class Keyring(ModuleType):
    """What `import keyring` finds."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("keyring")
        self.secrets: dict[tuple[str, str], str] = {}
        self.error = error

    def get_password(self, service: str, name: str) -> str | None:
        if self.error:
            raise self.error
        return self.secrets.get((service, name))

    def set_password(self, service: str, name: str, secret: str) -> None:
        if self.error:
            raise self.error
        self.secrets[service, name] = secret


def test_the_keyring_keeps_the_secret_and_the_file_does_not(
    environment: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    code, text = run("--profile", "shop", "login", "--keyring", "--no-check")
    assert code == 0, text
    stored = (tmp_path / "config" / "credentials.toml").read_text()
    assert SECRET not in stored + text
    assert keyring.secrets == {("tillstream", "shop"): SECRET}
    without = {name: value for name, value in environment.items() if name not in CREDENTIALS}
    profile = load_profile("shop", without)
    assert profile == Profile("http://127.0.0.1:9", "c", SECRET, "k")
    assert SECRET not in repr(profile)


def test_a_keyring_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", Keyring(RuntimeError("no backend")))
    code, text = run("login", "--keyring", "--no-check")
    assert code == 2
    assert "no backend" in text
    monkeypatch.delenv("TILLSTREAM_CLIENT_SECRET")
    code, text = run("jobs", "list")
    assert code == 2
    assert "the keyring cannot be read" in text
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setenv("TILLSTREAM_CLIENT_SECRET", SECRET)
    code, text = run("login", "--keyring", "--no-check")
    assert code == 2
    assert "pip install 'tillstream-client[keyring]'" in text


def test_credentials_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = save_profile("a", Profile("http://x", 'c"\\\n', SECRET, "ü"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_profile("a", {"TILLSTREAM_CONFIG_DIR": str(tmp_path / "config")}).client_id == 'c"\\\n'
    path.chmod(0o640)
    with pytest.raises(ProfileError, match="chmod 600"):
        load_profile("a", {"TILLSTREAM_CONFIG_DIR": str(tmp_path / "config")})


def test_progress_says_what_it_waits_for() -> None:
    away = UnavailableError("away", status=503, code="BROKER_UNAVAILABLE")
    progress = Progress(200, Tally(sent=100, succeeded=50, failed=1, unsent=0), 99.6, 61.0, 0, away)
    assert describe(progress) == "25%  sent 100 of 200  accepted 50  failed 1  waiting: BROKER_UNAVAILABLE"
    going_on = replace(progress, waits_for=None)
    assert describe(going_on) == "25%  sent 100 of 200  accepted 50  failed 1  100/s  1:01 left"
    assert progress_fields(progress)["waitingFor"] == "BROKER_UNAVAILABLE"
    lost = Progress(200, Tally(0, 0, 0, 0), 0, None, 0, UnreachableError("cut"))
    assert describe(lost) == "0%  sent 0 of 200  accepted 0  failed 0  waiting: no response"


def test_codes_replace_a_file_in_one_step_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    """Breaks if what a killed run has left stays, or is written to where another user could read it."""
    path, left = tmp_path / "codes.csv", tmp_path / ".codes.csv.part"
    path.write_text("old")
    left.symlink_to(tmp_path / "elsewhere")
    found: Any = type("Codes", (), {"codes": []})()
    orders.write_codes(path, found)
    assert path.read_text().startswith("sku,")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["codes.csv"]
