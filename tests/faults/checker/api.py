"""How clients reach an installation, whether it is simulated or real."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class NoAnswerError(Exception):
    """The client got no response: the connection broke, or it has waited long enough."""


@dataclass(frozen=True)
class Response:
    """A response as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Api(Protocol):
    """Sends requests with the clients' tokens. Paths are relative to the API's base."""

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the response; raises `NoAnswerError`."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def now(self) -> float:
        """Return a monotonic time."""
