"""Several programs that work as one: a cluster of brokers, a replica set."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sandbox.child import Child
from sandbox.waiting import until

SECONDS_TO_START = 60.0


class Ensemble(ABC):
    """One or more children. `launch` returns at once, `start` when clients can use them."""

    def __init__(self, name: str, children: Sequence[Child]) -> None:
        """`name` is what a person calls them together."""
        self._name = name
        self._children = children

    @property
    def pid(self) -> int | None:
        """The first one's process id."""
        return self._children[0].pid

    @property
    def is_running(self) -> bool:
        """Whether every process is there."""
        return all(child.is_running for child in self._children)

    @abstractmethod
    def launch(self) -> None:
        """Start every process."""

    @abstractmethod
    def settle(self) -> bool:
        """Whether clients can use them by now. Raises `NeverReady` if one ended."""

    def start(self) -> Self:
        """Start, and wait until clients can use them."""
        self.launch()
        try:
            until(self.settle, deadline_s=SECONDS_TO_START, what=self._name, evidence=self._children[0].tail)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """SIGTERM to all at once, SIGKILL to those that do not follow."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.stop()

    def kill(self) -> None:
        """SIGKILL to all."""
        for child in self._children:
            child.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
