"""The client."""

from typing import Self

from tillstream._async.events import AsyncEvents
from tillstream._async.imports import AsyncImports
from tillstream._async.invoices import AsyncInvoices
from tillstream._async.jobs import AsyncJobs
from tillstream._async.ledger import AsyncLedger
from tillstream._async.orders import AsyncOrders
from tillstream._async.runtime import AsyncHttp
from tillstream._async.transport import AsyncTransport
from tillstream.http import Credentials, RetryPolicy


class AsyncClient:
    """A client of one Tillstream installation, with the credentials of one customer.

    Tokens are fetched and renewed as needed. Close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str,
        api_key: str,
        *,
        retry: RetryPolicy | None = None,
        http: AsyncHttp | None = None,
    ) -> None:
        """`http` replaces the connections, for tests and proxies; it needs the base URL."""
        credentials = Credentials(client_id, client_secret, api_key)
        self.transport = AsyncTransport(base_url, credentials, retry or RetryPolicy(), http)
        self.imports = AsyncImports(self.transport)
        self.jobs = AsyncJobs(self.transport)
        self.orders = AsyncOrders(self.transport)
        self.invoices = AsyncInvoices(self.transport)
        self.ledger = AsyncLedger(self.transport)
        self.events = AsyncEvents(self.transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()
