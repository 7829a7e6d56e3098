"""Terminal output: a spinner on an interactive terminal, plain lines everywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.status import Status

PLAIN_WIDTH = 250


class Console:
    """Prints progress. Never raises: the terminal may be closed while the sandbox still has to stop."""

    def __init__(self, console: RichConsole | None = None) -> None:
        self._console = console or _rich_console()
        self._is_interactive = self._console.is_terminal and not self._console.is_dumb_terminal
        self._status: Status | None = None

    @property
    def is_plain(self) -> bool:
        """Whether only plain lines can be shown."""
        return not self._is_interactive

    def line(self, text: str = "") -> None:
        """Print one line without markup or wrapping: programs may parse it."""
        with suppress(OSError, ValueError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def print(self, renderable: RenderableType) -> None:
        """Print a table or another renderable of rich."""
        with suppress(OSError, ValueError):
            self._console.print(renderable)

    @contextmanager
    def waiting(self, subject: str) -> Iterator[None]:
        """While inside, show what is being waited for."""
        if not self._is_interactive:
            self.line(f"waiting for {subject}")
            yield
            return
        with self._console.status(f"waiting for {subject}") as self._status:
            yield
        self._status = None

    def update_waiting(self, subject: str) -> None:
        """Replace the subject of `waiting`."""
        if self._status is not None:
            self._status.update(f"waiting for {subject}")

    @contextmanager
    def progress(self, subject: str) -> "Iterator[_ProgressCounter]":
        """While inside, show how many items of a task are done."""
        counter = _ProgressCounter(self, subject)
        try:
            yield counter
        finally:
            counter.close()


class _ProgressCounter:
    """Called with (done, total); appears at the first call."""

    def __init__(self, console: Console, subject: str) -> None:
        self._console = console
        self._subject = subject
        self._bar: Progress | None = None
        self._is_announced = False

    def __call__(self, done: int, total: int) -> None:
        if self._console.is_plain:
            self._print_plain(done, total)
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                console=self._console._console,  # noqa: SLF001 - same module
            )
            self._bar.add_task(self._subject, total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)

    def _print_plain(self, done: int, total: int) -> None:
        if not self._is_announced:
            self._is_announced = True
            self._console.line(f"{self._subject} ({total})")
        elif done == total:
            self._console.line(f"{self._subject}: done")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _rich_console() -> RichConsole:
    console = RichConsole()
    if console.is_terminal and not console.is_dumb_terminal:
        return console
    return RichConsole(width=PLAIN_WIDTH, no_color=True)
