"""Tillstream's client library: import orders and returns, follow jobs, collect codes and invoices.

>>> with Client("https://tillstream.example", client_id, client_secret, api_key) as client:
...     job = client.jobs.wait(client.imports.send(orders).job_id)
...     print(job.counts)
"""

from tillstream._async.client import AsyncClient
from tillstream._sync.client import Client
from tillstream.errors import (
    ApiError,
    BodyFault,
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotFinishedError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    TillstreamError,
    UnavailableError,
    UnexpectedResponseError,
    UnreachableError,
)
from tillstream.http import VERSION as __version__  # noqa: N811 - the name that is usual in modules
from tillstream.http import ItemPage, RetryPolicy

__all__ = [
    "ApiError",
    "AsyncClient",
    "BodyFault",
    "Client",
    "ConflictError",
    "InvalidRequestError",
    "ItemPage",
    "NotAllowedError",
    "NotFinishedError",
    "NotFoundError",
    "OutcomeUnknownError",
    "RateLimitedError",
    "RetryPolicy",
    "TillstreamError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnreachableError",
    "__version__",
]
