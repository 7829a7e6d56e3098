"""How endpoints are shared among the processes that send."""

from collections.abc import Sequence

from msgspec import Struct

from services.webhooks.domain.endpoint import Endpoint


class Leases(Struct, frozen=True):
    """The endpoints that a process has leased, in a stable order, and how many are its share."""

    endpoints: Sequence[Endpoint]
    share: int

    @property
    def kept(self) -> Sequence[Endpoint]:
        """Those to send to."""
        return self.endpoints[: self.share]

    @property
    def excess(self) -> Sequence[Endpoint]:
        """Those to leave to other processes."""
        return self.endpoints[self.share :]


def fair_share(endpoints: int, processes: int) -> int:
    """How many endpoints each process may lease, so that together they lease all."""
    return -(-endpoints // max(processes, 1))
