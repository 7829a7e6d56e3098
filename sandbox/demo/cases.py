"""The documents' examples: requests, and the documented results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent / "examples"
API_KEY = "12345"
CLIENT_ID = "5934de97c95e1ced"
CLIENT_SECRET = "2l9dr0jkink11ad49hg93it52d"  # noqa: S105 - printed in the document, valid in sandboxes only
# The operator of the sandbox: signs in at the portal, and calls the admin API.
OPERATOR_ID = "0f6b3d1e92c87a45"
OPERATOR_SECRET = "q8w2n5yd3kz7r1m6vt4xj9bc0p"  # noqa: S105 - valid in sandboxes only


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and its expected result.

    `path` follows the API key. `warnings` are the messages of the job's events, in order.
    """

    title: str
    method: str
    path: str
    body: bytes
    total: int
    failed: int = 0
    mode: str = "offline"
    type: str = "orders"
    status: str = "PROCESSING"
    warnings: tuple[str, ...] = ()

    @property
    def request(self) -> str:
        """The request line, as in the document."""
        return f"{self.method} /omnichannel/api/v1/{API_KEY}/{self.path}"

    @property
    def target(self) -> str:
        """Path and query string."""
        return self.request.split(" ", 1)[1]

    @property
    def message(self) -> str:
        """The expected `message` of the response."""
        return f"Total records = {self.total}. Success = {self.total - self.failed}. Failed = {self.failed}"


def load_example(name: str) -> bytes:
    """Load a payload, byte for byte as in the document."""
    return (EXAMPLES / f"{name}.json").read_bytes()


def order(**changes: Any) -> Mapping[str, Any]:
    """Build a small order of a known product."""
    line = {"productId": "4556", "quantity": 1, "unitPrice": 9.99}
    return {"id": "demo", "userId": "userA1", "dateTime": "2023-06-02T17:03:26Z", "lineItems": [line], **changes}


def order_of_unknown_product(order_id: int, product: str | int) -> Mapping[str, Any]:
    """Build an order that the validator rejects."""
    return order(id=order_id, lineItems=[{"productId": product, "quantity": 1, "unitPrice": 1}])


ONE_OF_TWO = json.dumps([order(), order_of_unknown_product(1234, "product3")]).encode()
NONE = json.dumps([order_of_unknown_product(95189138, 6024383)]).encode()

CASES = (
    Case(title="Orders #1", method="POST", path="orders?mode=offline", body=load_example("orders-1"), total=2),
    Case(
        title="Orders #2", method="PUT", path="orders/users/userC2?mode=offline", body=load_example("orders-2"), total=1
    ),
    Case(
        title="Orders #3",
        method="PUT",
        path="orders/users/userC2?mode=online",
        body=load_example("orders-3"),
        total=1,
        mode="online",
    ),
    Case(
        title="Orders #4",
        method="POST",
        path="orders?mode=online",
        body=load_example("orders-4"),
        total=2,
        mode="online",
    ),
    Case(title="Returns #1", method="POST", path="returns", body=load_example("returns-1"), total=1, type="returns"),
    Case(
        title="Returns #2 (printed)",
        method="PUT",
        path="orders/users/userC2",
        body=load_example("returns-2"),
        total=1,
        type="returns",
    ),
    Case(
        title="Returns #2",
        method="PUT",
        path="returns/users/userC2",
        body=load_example("returns-2"),
        total=1,
        type="returns",
    ),
    Case(
        title="One product unknown",
        method="POST",
        path="orders?mode=online",
        body=ONE_OF_TWO,
        total=2,
        mode="online",
        status="PROCESSING_WITH_WARNING",
        warnings=("No product is found for product ID product3",),
    ),
    Case(
        title="All products unknown",
        method="POST",
        path="orders",
        body=NONE,
        total=1,
        status="FAILED",
        warnings=("No product is found for product ID 6024383",),
    ),
)
