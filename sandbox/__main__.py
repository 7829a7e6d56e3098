"""`python -m sandbox …`: Kafka, MongoDB, a front door and the services on this machine."""
# What starts or downloads something is imported by the command that does it: the others answer in half the time.

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich import box
from rich.table import Table

from sandbox import commands, paths
from sandbox.child import tail
from sandbox.commands import Failed
from sandbox.control import AlreadyRunning, NotRunning
from sandbox.layout import Layout
from sandbox.missing import Missing
from sandbox.ports import PortTaken
from sandbox.screen import Screen
from sandbox.services import BY_NAME, SERVICES, World
from sandbox.waiting import NeverReady

EXPECTED = (AlreadyRunning, Failed, Missing, NeverReady, NotRunning, PortTaken, OSError)

application = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
screen = Screen()

Port = Annotated[int, typer.Option(help="Port of the front door.", envvar="PORT", min=0, max=65535)]
Name = Annotated[str, typer.Argument(help="A part: kafka, mongodb, front, or a service.")]


def _web_address(base: str | None) -> str | None:
    if base is not None and not _is_front_door(base):
        raise typer.BadParameter("an address is wanted, such as http://127.0.0.1:8080")
    return base


def _is_front_door(base: str) -> bool:
    try:
        parts = urlsplit(base)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port and parts.path in {"", "/"}


def here() -> Layout:
    """The sandbox that the commands are about."""
    return Layout(paths.home())


@application.command()
def run(port: Port = 8080) -> None:
    """Start everything, show the demo, stay until Ctrl-C, stop everything."""
    from sandbox.running import run_sandbox  # noqa: PLC0415 - see the top

    raise typer.Exit(run_sandbox(here(), port=port, screen=screen))


@application.command()
def up(port: Port = 8080) -> None:
    """Start everything in the background; return when it is ready."""
    commands.up(here(), port=port, screen=screen)


@application.command()
def down() -> None:
    """Stop everything."""
    commands.down(here())
    screen.line("stopped")


@application.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Every part: process id, state, addresses. Exit code 1 when no sandbox runs here."""
    try:
        rows = commands.status(here())
    except NotRunning:
        if as_json:
            print("[]")
        raise
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        screen.show(_table(rows))


@application.command()
def stop(name: Name) -> None:
    """Stop one part; return when it is gone."""
    commands.stop(here(), name)
    screen.line(f"{name} stopped")


@application.command()
def start(name: Name) -> None:
    """Start one part again, at the same address; return when it is ready."""
    screen.line(f"{name} ready, process {commands.start(here(), name)['pid']}")


@application.command()
def restart(name: Name) -> None:
    """Stop one part and start it again."""
    stop(name)
    start(name)


@application.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A part; all of them without it.")] = None,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many lines of each.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
) -> None:
    """The ends of the logs."""
    known: dict[str, str] = _endpoints()["logs"]
    if name is not None and name not in known:
        raise Failed(f"there is no {name}; there are: {', '.join(known)}")
    chosen = {each: Path(path) for each, path in known.items() if name in {None, each}}
    for each, path in chosen.items():
        _show_log(each, tail(path, lines), is_only=len(chosen) == 1)
    if follow:
        _follow(chosen)


@application.command()
def env(name: Annotated[str | None, typer.Argument(help="A service: everything it is told.")] = None) -> None:
    """Shell lines that let other programs find this sandbox: `eval "$(python -m sandbox env)"`."""
    known = _endpoints()
    addresses = known["services"]
    world = World(
        kafka_bootstrap_servers=known["kafka_bootstrap_servers"],
        mongodb_uri=known["mongodb_uri"],
        ports={each.name: [_port(addresses[each.name][door]) for door in each.doors] for each in SERVICES},
        front_door=known["front_door"],
        secrets=here().secrets(),
    )
    if name is not None and name not in BY_NAME:
        raise Failed(f"there is no service {name}; there are: {', '.join(BY_NAME)}")
    told = world.operators_environment() if name is None else world.environment(BY_NAME[name])
    for variable, value in told.items():
        print(f"export {variable}={shlex.quote(value)}")


@application.command()
def demo(
    base: Annotated[
        str | None, typer.Option(help="Another front door than this sandbox's.", callback=_web_address)
    ] = None,
) -> None:
    """Import every example of the document and show what becomes of it. Exit code 1 if not as printed."""
    from sandbox.demo import show_demo  # noqa: PLC0415 - see the top

    raise typer.Exit(not asyncio.run(show_demo(base or _endpoints()["front_door"], screen)))


@application.command()
def setup(
    *, preload: Annotated[bool, typer.Option(help="Let Kafka start faster from now on; takes ten seconds.")] = True
) -> None:
    """Fetch and check what the sandbox needs, once."""
    from sandbox.setting_up import set_up  # noqa: PLC0415 - see the top

    set_up(screen, preload=preload)


@application.command()
def lock() -> None:
    """Resolve Kafka's jars anew and write the lock file."""
    from sandbox.jars import write_lock  # noqa: PLC0415 - see the top

    screen.line(f"{write_lock()} jars locked")


@application.command()
def clean() -> None:
    """Remove this sandbox's data."""
    commands.clean(here())


def _endpoints() -> dict[str, Any]:
    found = here().endpoints()
    if found is None:
        raise NotRunning(f"There has been no sandbox in {here().root}")
    return found


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _table(rows: list[commands.Row]) -> Table:
    table = Table(box=box.ASCII2)
    for column in ("Name", "Process", "State", "Addresses"):
        table.add_column(column, overflow="fold")
    for row in rows:
        addresses = "\n".join(f"{kind} {address}" for kind, address in row["addresses"].items())
        table.add_row(row["name"], str(row["pid"] or ""), row["state"], addresses)
    return table


def _show_log(name: str, text: str, *, is_only: bool) -> None:
    for line in text.splitlines():
        screen.line(line if is_only else f"{name}: {line}")


def _follow(logs_by_name: dict[str, Path]) -> None:
    files = {
        name: path.open(encoding="utf-8", errors="replace") for name, path in logs_by_name.items() if path.exists()
    }
    for file in files.values():
        file.seek(0, os.SEEK_END)
    try:
        while True:
            for name, file in files.items():
                _show_log(name, file.read(), is_only=len(files) == 1)
            time.sleep(0.2)  # between two looks at the files
    except KeyboardInterrupt:
        pass
    finally:
        for file in files.values():
            file.close()


def main(command: Callable[[], None] = application) -> int:
    """Run a command; what can go wrong in ordinary life is one line, not a trace."""
    try:
        command()
    except EXPECTED as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
