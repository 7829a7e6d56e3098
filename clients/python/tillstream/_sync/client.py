"""The client."""

from typing import Self

from tillstream._sync.events import Events
from tillstream._sync.imports import Imports
from tillstream._sync.invoices import Invoices
from tillstream._sync.jobs import Jobs
from tillstream._sync.ledger import Ledger
from tillstream._sync.orders import Orders
from tillstream._sync.runtime import Http
from tillstream._sync.transport import Transport
from tillstream.http import Credentials, RetryPolicy


class Client:
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
        http: Http | None = None,
    ) -> None:
        """`http` replaces the connections, for tests and proxies; it needs the base URL."""
        credentials = Credentials(client_id, client_secret, api_key)
        self.transport = Transport(base_url, credentials, retry or RetryPolicy(), http)
        self.imports = Imports(self.transport)
        self.jobs = Jobs(self.transport)
        self.orders = Orders(self.transport)
        self.invoices = Invoices(self.transport)
        self.ledger = Ledger(self.transport)
        self.events = Events(self.transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()
