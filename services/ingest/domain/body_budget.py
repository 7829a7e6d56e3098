"""Bounds the memory of request bodies in flight, of all clients together and of each."""

from typing import Self

# What a request costs beside the bytes of its body: connection, task, parsed headers.
REQUEST_BYTES = 32 * 1024
# An inflated body, the objects that it becomes, and their Avro bytes, per byte of the body.
INFLATED_WEIGHT = 4


class BudgetExceededError(Exception):
    """No room is left for a body; `is_clients` if its client has used up its own share."""

    def __init__(self, *, is_clients: bool) -> None:
        super().__init__("too many bytes in flight")
        self.is_clients = is_clients


class BodyBudget:
    """Counts the bytes of bodies that are being received, parsed and published."""

    def __init__(self, *, max_bytes: int, max_bytes_per_client: int) -> None:
        self._max_bytes = max_bytes
        self._max_bytes_per_client = max_bytes_per_client
        self._by_client: dict[str, int] = {}
        self.bytes_in_flight = 0

    def open(self, client_id: str) -> "BodyShare":
        """Charge one request of a client from entering the context until leaving it."""
        return BodyShare(self, client_id)

    def release(self, share: "BodyShare") -> None:
        """Undo what is charged for a request."""
        self._add(share.client_id, -share.bytes)
        share.bytes = 0

    def resize(self, share: "BodyShare", size: int) -> None:
        """Change what a request is charged; raises `BudgetExceededError`, and changes nothing, if it grows too far."""
        growth = size - share.bytes
        if growth > 0:
            if self._by_client.get(share.client_id, 0) + growth > self._max_bytes_per_client:
                raise BudgetExceededError(is_clients=True)
            if self.bytes_in_flight + growth > self._max_bytes:
                raise BudgetExceededError(is_clients=False)
        share.bytes = size
        self._add(share.client_id, growth)

    def _add(self, client_id: str, growth: int) -> None:
        self.bytes_in_flight += growth
        rest = self._by_client.get(client_id, 0) + growth
        if rest:
            self._by_client[client_id] = rest
        else:
            self._by_client.pop(client_id, None)


class BodyShare:
    """What one request is charged while its context is entered."""

    __slots__ = ("_budget", "bytes", "client_id")

    def __init__(self, budget: BodyBudget, client_id: str) -> None:
        self._budget = budget
        self.client_id = client_id
        self.bytes = 0

    def __enter__(self) -> Self:
        self.set(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self)

    def set(self, body_bytes: int) -> None:
        """Charge this many bytes and the request itself; raises `BudgetExceededError`."""
        self._budget.resize(self, REQUEST_BYTES + body_bytes)
