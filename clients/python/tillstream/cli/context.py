"""What all commands share: exit codes, errors, and the client of the chosen profile."""

import functools
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, TypeVar

import click

from tillstream._sync.client import Client
from tillstream.errors import (
    ApiError,
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    TillstreamError,
    UnavailableError,
    UnexpectedResponseError,
    UnreachableError,
)
from tillstream.http import RetryPolicy
from tillstream.importer import is_resumable
from tillstream.manifest import ManifestError, ManifestLockedError
from tillstream.profiles import ProfileError, load_profile
from tillstream.sources.records import SourceError

F = TypeVar("F", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """Exit codes; 75 is EX_TEMPFAIL of sysexits.h."""

    OK = 0
    USAGE = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    NOT_REACHED = 5
    RESUMABLE = 75


def exit_code(error: TillstreamError) -> ExitCode:
    """Return the exit code that an error means."""
    if isinstance(error, SourceError | ProfileError | ManifestError | ManifestLockedError):
        return ExitCode.USAGE
    if isinstance(error, UnreachableError | NotAllowedError | UnexpectedResponseError):
        return ExitCode.NOT_REACHED
    if is_resumable(error):
        return ExitCode.RESUMABLE
    return ExitCode.ALL_FAILED if isinstance(error, ApiError) else ExitCode.USAGE


_HINTS = {
    "UNAUTHORIZED": "check the credentials: tillstream login",
    "INVALID_CLIENT": "check client id and secret: tillstream login",
    "FORBIDDEN": "the client lacks the scope, or the API key belongs to another site",
    "RATE_LIMITED": "the limit is in use; try again, or take less of it with --share",
}
_HINTS_BY_CLASS: tuple[tuple[type[TillstreamError], str], ...] = (
    (UnreachableError, "check the address and the network; `tillstream login` changes the address"),
    (UnexpectedResponseError, "is this the address of a Tillstream installation? `tillstream login` changes it"),
    (NotAllowedError, "check the credentials: tillstream login"),
    (NotFoundError, "check the id; what belongs to another site is not shown"),
    (ConflictError, "an earlier request says something else; use another number"),
    (InvalidRequestError, "change what is named, and try again"),
    (UnavailableError, "try again later; if it lasts, tell the operator the request's id"),
)


def describe_error(error: TillstreamError) -> str:
    """Return message, code, request id, and what to do."""
    hint = _HINTS.get(error.code) if isinstance(error, ApiError) else None
    hint = hint or next((hint for kind, hint in _HINTS_BY_CLASS if isinstance(error, kind)), None)
    return f"error: {error}" + (f"\n  {hint}" if hint else "")


# A wrong address must show soon.
MAX_WAIT_S = 10.0


@contextmanager
def open_client(context: click.Context, *, max_wait_s: float = MAX_WAIT_S) -> Iterator[Client]:
    """Yield a client with the credentials of the profile that the command line names.

    Requests are retried for at most `max_wait_s`; see `keep_trying`.
    """
    profile = load_profile(context.obj)
    retry = RetryPolicy(max_wait_s=max_wait_s)
    with Client(profile.base_url, profile.client_id, profile.client_secret, profile.api_key, retry=retry) as client:
        yield client


def keep_trying(client: Client, *, max_wait_s: float) -> None:
    """Retry the following requests for longer: address and credentials are right, as the last response shows."""
    client.transport.retry = RetryPolicy(max_wait_s=max_wait_s)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at SIGINT and SIGTERM, also within a request or a pause before it is repeated."""
    handlers = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def reports_errors(function: F) -> F:
    """Print an error of the library in a line or two, and exit with its code."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TillstreamError as error:
            click.echo(describe_error(error), err=True)
            raise click.exceptions.Exit(exit_code(error)) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            click.echo(f"error: {error.filename or 'a file'}: {error.strerror}", err=True)
            raise click.exceptions.Exit(ExitCode.USAGE) from None
        except sqlite3.Error as error:
            click.echo(f"error: the state of the import cannot be stored ({error}); is the disk full?", err=True)
            raise click.exceptions.Exit(ExitCode.RESUMABLE) from None
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            raise click.exceptions.Exit(ExitCode.RESUMABLE) from None

    return wrapper  # type: ignore[return-value]  # functools.wraps keeps the signature
