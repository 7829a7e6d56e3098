"""Which client has sent the latest request, and when another one sent its last."""

from collections.abc import Callable
from math import inf
from time import monotonic


class RecentClients:
    """Tells whether a client is alone. It remembers two clients, so it takes no memory for the others."""

    def __init__(self, *, clock_s: Callable[[], float] = monotonic) -> None:
        self._clock_s = clock_s
        self._latest_client = ""
        self._latest_s = self._latest_of_others_s = -inf

    def record(self, client_id: str) -> None:
        """The client has just sent a request."""
        if client_id != self._latest_client:
            self._latest_of_others_s, self._latest_client = self._latest_s, client_id
        self._latest_s = self._clock_s()

    def latest_of_others_s(self, client_id: str) -> float:
        """When any other client sent its last request, on the clock; before all times if none ever did."""
        return self._latest_of_others_s if client_id == self._latest_client else self._latest_s
