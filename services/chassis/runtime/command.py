"""Coroutine functions as commands of a command line."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import typer

from services.chassis.runtime.errors import ChangedSettingError, UnavailableError

P = ParamSpec("P")


def async_command(*expected: type[Exception]) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, None]]:
    """Make a coroutine function a command, run in an event loop of its own.

    `UnavailableError`, `ChangedSettingError` and the `expected` errors end the process with status 1 and one line on
    standard error.
    """
    errors: tuple[type[Exception], ...] = (UnavailableError, ChangedSettingError, *expected)

    def decorate(work: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
        @wraps(work)
        def command(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                asyncio.run(work(*args, **kwargs))
            except errors as error:
                # The type of the cause distinguishes a network problem from a missing right.
                cause = error.__cause__ if isinstance(error, UnavailableError) else None
                typer.echo(f"{error} ({type(cause).__name__})" if cause else str(error), err=True)
                raise typer.Exit(1) from None
            except KeyboardInterrupt:
                raise typer.Exit(130) from None

        return command

    return decorate
