"""`python -m sandbox …`: Kafka, MongoDB, a gateway and the services on this machine."""
# Commands import what starts or downloads something themselves, so that the other commands start in half the time.

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

from sandbox import client, paths
from sandbox.console import Console
from sandbox.errors import CommandFailedError, NotRunningError, SandboxError
from sandbox.layout import Layout
from sandbox.process import tail
from sandbox.services import BY_NAME, SERVICES, Environment

EXPECTED_ERRORS = (SandboxError, OSError)

application = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console()

Port = Annotated[int, typer.Option(help="Port of the gateway.", envvar="PORT", min=0, max=65535)]
Name = Annotated[str, typer.Argument(help="kafka, mongodb, gateway, or a service.")]


def _validate_base_url(base: str | None) -> str | None:
    if base is not None and not _is_base_url(base):
        raise typer.BadParameter("not a base URL such as http://127.0.0.1:8080")
    return base


def _is_base_url(base: str) -> bool:
    try:
        parts = urlsplit(base)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port and parts.path in {"", "/"}


def current_layout() -> Layout:
    """The directory of the sandbox that the commands act on."""
    return Layout(paths.home())


@application.command()
def run(port: Port = 8080) -> None:
    """Start everything, run the demo, wait for Ctrl-C, stop everything."""
    from sandbox.session import run_sandbox  # noqa: PLC0415 - see the comment at the top

    raise typer.Exit(run_sandbox(current_layout(), port=port, console=console))


@application.command()
def up(port: Port = 8080) -> None:
    """Start everything in the background; return when it is ready."""
    client.up(current_layout(), port=port, console=console)


@application.command()
def down() -> None:
    """Stop everything."""
    client.down(current_layout())
    console.line("stopped")


@application.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List process id, state and addresses of each component. Exit code 1 when no sandbox is running."""
    try:
        rows = client.status(current_layout())
    except NotRunningError:
        if as_json:
            print("[]")
        raise
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        console.print(_table(rows))


@application.command()
def stop(name: Name) -> None:
    """Stop one component; return when it has exited."""
    client.stop(current_layout(), name)
    console.line(f"{name} stopped")


@application.command()
def start(name: Name) -> None:
    """Start one component at its previous address; return when it is ready."""
    console.line(f"{name} ready, pid {client.start(current_layout(), name)['pid']}")


@application.command()
def restart(name: Name) -> None:
    """Stop one component and start it again."""
    stop(name)
    start(name)


@application.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A component; default: all.")] = None,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="Number of lines of each log.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Print new lines until Ctrl-C.")] = False,
) -> None:
    """Print the last lines of the logs."""
    paths_by_name: dict[str, str] = _endpoints()["logs"]
    if name is not None and name not in paths_by_name:
        raise CommandFailedError(f"no log of {name} (logs: {', '.join(paths_by_name)})")
    selected = {each: Path(path) for each, path in paths_by_name.items() if name in {None, each}}
    for each, path in selected.items():
        _show_log(each, tail(path, lines), is_only=len(selected) == 1)
    if follow:
        _follow(selected)


@application.command()
def env(name: Annotated[str | None, typer.Argument(help="All variables of this service.")] = None) -> None:
    """Print shell exports for programs that use this sandbox: `eval "$(python -m sandbox env)"`."""
    endpoints = _endpoints()
    addresses = endpoints["services"]
    environment = Environment(
        kafka_bootstrap_servers=endpoints["kafka_bootstrap_servers"],
        mongodb_uri=endpoints["mongodb_uri"],
        ports={each.name: [_port(addresses[each.name][port]) for port in each.ports] for each in SERVICES},
        gateway_url=endpoints["gateway"],
        secrets=current_layout().secrets(),
    )
    if name is not None and name not in BY_NAME:
        raise CommandFailedError(f"no such service: {name} (services: {', '.join(BY_NAME)})")
    variables = environment.for_cli() if name is None else environment.for_service(BY_NAME[name])
    for variable, value in variables.items():
        print(f"export {variable}={shlex.quote(value)}")


@application.command()
def demo(
    base: Annotated[
        str | None, typer.Option(help="Base URL of another installation.", callback=_validate_base_url)
    ] = None,
) -> None:
    """Send the documents' examples and show the results. Exit code 1 if one differs from the documents."""
    from sandbox.demo import show_demo  # noqa: PLC0415 - see the comment at the top

    raise typer.Exit(not asyncio.run(show_demo(base or _endpoints()["gateway"], console)))


@application.command()
def setup(
    *,
    preload: Annotated[
        bool, typer.Option(help="Build Kafka's AOT class cache (ten seconds once), which halves its start time.")
    ] = True,
) -> None:
    """Download and check what the sandbox needs, once per machine."""
    from sandbox.install import install  # noqa: PLC0415 - see the comment at the top

    install(console, preload=preload)


@application.command()
def lock() -> None:
    """Resolve Kafka's jars and write the lock file."""
    from sandbox.jars import write_lock  # noqa: PLC0415 - see the comment at the top

    console.line(f"{write_lock()} jars locked")


@application.command()
def clean() -> None:
    """Delete this sandbox's data."""
    client.clean(current_layout())


def _endpoints() -> dict[str, Any]:
    endpoints = current_layout().endpoints()
    if endpoints is None:
        raise NotRunningError(f"There has been no sandbox in {current_layout().root}")
    return endpoints


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _table(rows: list[client.StatusRow]) -> Table:
    table = Table(box=box.ASCII2)
    for column in ("Name", "Process", "State", "Addresses"):
        table.add_column(column, overflow="fold")
    for row in rows:
        addresses = "\n".join(f"{kind} {address}" for kind, address in row["addresses"].items())
        table.add_row(row["name"], str(row["pid"] or ""), row["state"], addresses)
    return table


def _show_log(name: str, text: str, *, is_only: bool) -> None:
    for line in text.splitlines():
        console.line(line if is_only else f"{name}: {line}")


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
            time.sleep(0.2)  # until Ctrl-C: nothing signals that a file has grown
    except KeyboardInterrupt:
        pass
    finally:
        for file in files.values():
            file.close()


def main(command: Callable[[], None] = application) -> int:
    """Run a command; print expected errors in one line, without a traceback."""
    try:
        command()
    except EXPECTED_ERRORS as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
