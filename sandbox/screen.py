"""What a person at the terminal sees: a moving line where there is one, plain lines everywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.status import Status

PLAIN_WIDTH = 250


class Screen:
    """Says what happens. Never fails: the terminal may be gone while the sandbox still has to stop."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._status: Status | None = None

    @property
    def is_plain(self) -> bool:
        """Whether lines are all it can show."""
        return not self._moves

    def line(self, text: str = "") -> None:
        """One line, as it is: programs may look for it."""
        with suppress(OSError, ValueError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, thing: RenderableType) -> None:
        """A table or the like."""
        with suppress(OSError, ValueError):
            self._console.print(thing)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """While inside, say what is waited for."""
        if not self._moves:
            self.line(f"waiting for {what}")
            yield
            return
        with self._console.status(f"waiting for {what}") as self._status:
            yield
        self._status = None

    def still_waiting(self, what: str) -> None:
        """Something of it is there; this is left."""
        if self._status is not None:
            self._status.update(f"waiting for {what}")

    @contextmanager
    def counting(self, what: str) -> "Iterator[_Count]":
        """While inside, show how many of something are done."""
        count = _Count(self, what)
        try:
            yield count
        finally:
            count.close()


class _Count:
    """Called with (done, total); shows itself at the first call."""

    def __init__(self, screen: Screen, what: str) -> None:
        self._screen = screen
        self._what = what
        self._bar: Progress | None = None
        self._announced = False

    def __call__(self, done: int, total: int) -> None:
        if self._screen.is_plain:
            self._say(done, total)
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                console=self._screen._console,  # noqa: SLF001 - one room
            )
            self._bar.add_task(self._what, total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)

    def _say(self, done: int, total: int) -> None:
        if not self._announced:
            self._announced = True
            self._screen.line(f"{self._what} ({total})")
        elif done == total:
            self._screen.line(f"{self._what}: done")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _console() -> Console:
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return console
    return Console(width=PLAIN_WIDTH, no_color=True)
