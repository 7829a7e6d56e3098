"""Several processes that form one server: a cluster of brokers, a replica set."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from sandbox.polling import wait_until
from sandbox.process import ManagedProcess

START_TIMEOUT_S = 60.0


class ProcessGroup(ABC):
    """One or more processes. `launch` returns at once, `start` when clients can use them."""

    def __init__(self, name: str, processes: Sequence[ManagedProcess]) -> None:
        """`name` appears in error messages."""
        self._name = name
        self._processes = processes

    @property
    def pid(self) -> int | None:
        """The process id of the first one."""
        return self._processes[0].pid

    @property
    def is_running(self) -> bool:
        """Whether all processes are running."""
        return all(process.is_running for process in self._processes)

    @abstractmethod
    def launch(self) -> None:
        """Start all processes and return at once."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether clients can use them. Raises `NotReadyError` if one has exited."""

    def start(self) -> Self:
        """Start all processes and wait until clients can use them."""
        self.launch()
        try:
            wait_until(
                self.is_ready,
                deadline_s=START_TIMEOUT_S,
                description=self._name,
                diagnostics=self._processes[0].tail,
            )
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Send SIGTERM to all at once, SIGKILL to those that do not exit."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.stop()

    def kill(self) -> None:
        """Send SIGKILL to all."""
        for process in self._processes:
            process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
