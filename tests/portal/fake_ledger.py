"""The ledger's API in memory: sums of sales by any dimension, exports, users and receipts."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import httpx2

AS_OF = "2026-11-30T10:00:00.123456Z"
_SUMS = ("orders", "units", "gross", "coupons", "returnedUnits", "returned", "net")


@dataclass(frozen=True, slots=True)
class Sold:
    """One order of a day, and what came back of it on the same day."""

    day: str
    gross: str
    channel: str | None = "web"
    mode: str = "online"
    currency: str = "EUR"
    returned: str = "0"
    units: int = 1

    @property
    def sums(self) -> Mapping[str, Any]:
        returned = Decimal(self.returned)
        return {
            "orders": 1,
            "units": self.units,
            "gross": Decimal(self.gross),
            "coupons": Decimal(0),
            "returnedUnits": int(bool(returned)),
            "returned": returned,
            "net": Decimal(self.gross) - returned,
        }


@dataclass(slots=True)
class FakeLedger:
    """What each API key has sold; entries by API key and user."""

    sold: dict[str, list[Sold]] = field(default_factory=dict)
    entries: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)
    receipt_state: str = "ERASING"

    def answer(self, request: httpx2.Request, key: str, path: Sequence[str], *, zone: str) -> httpx2.Response:
        """Answer a request below `/ledger/v1/{key}`."""
        # The decoded path does not tell a slash within an id.
        path = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")[4:]]
        match path:
            case ["reports", "sales"]:
                return self._report(request, key, zone)
            case ["exports", "orders"]:
                return self._export(request, key)
            case ["users", user, "orders"]:
                return self._user(request, key, user)
            case ["users", user] if request.method == "DELETE":
                self.erased.append(user)
                self.entries.pop((key, user), None)
                return httpx2.Response(202, json=self._receipt())
            case ["erasures", "receipt-1"] if self.erased:
                return httpx2.Response(200, json=self._receipt())
        return httpx2.Response(404, json={"detail": "no such thing", "code": "NOT_FOUND"})

    def _select(self, request: httpx2.Request, key: str) -> list[Sold]:
        params = request.url.params
        first, last = params.get("from", "0000"), params.get("to", "9999")
        return [
            each
            for each in self.sold.get(key, [])
            if first <= each.day <= last
            and params.get("channel", each.channel or "") == (each.channel or "")
            and params.get("mode", each.mode) == each.mode
            and params.get("currency", each.currency) == each.currency
        ]

    def _report(self, request: httpx2.Request, key: str, zone: str) -> httpx2.Response:
        by = request.url.params.get("by", "day,channel").split(",")
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for each in self._select(request, key):
            values = {"day": each.day, "month": each.day[:7], "channel": each.channel, "mode": each.mode}
            group = {name: values[name] for name in by} | {"currency": each.currency}
            row = rows.setdefault(tuple(group.values()), {**group, **dict.fromkeys(_SUMS, 0)})
            for name, value in each.sums.items():
                row[name] += value
        found = [_as_text(row) for row in rows.values()]
        if request.url.params.get("format") in ("csv", "xlsx"):
            return httpx2.Response(200, content=_to_csv([*by, "currency", *_SUMS], found))
        report = {"asOf": AS_OF, "zone": zone, "reportCurrency": "EUR", "result": found}
        return httpx2.Response(200, json=report)

    def _export(self, request: httpx2.Request, key: str) -> httpx2.Response:
        orders = [
            _as_text({"orderId": f"O{number}", "channel": each.channel, "currency": each.currency, **each.sums})
            for number, each in enumerate(self._select(request, key))
        ]
        if request.url.params["format"] == "ndjson":
            return httpx2.Response(200, content="".join(json.dumps(order) + "\n" for order in orders).encode())
        return httpx2.Response(200, content=_to_csv(["orderId", "channel", "currency", *_SUMS], orders))

    def _user(self, request: httpx2.Request, key: str, user: str) -> httpx2.Response:
        entries = self.entries.get((key, user), [])
        if not request.url.params.get("page", "0").isdigit():
            return httpx2.Response(400, json={"detail": "page is not a token", "code": "INVALID_PAGE_TOKEN"})
        rows, start = int(request.url.params.get("rows", 50)), int(request.url.params.get("page", 0))
        shown = entries[start : start + rows]
        following = str(start + rows) if len(entries) > start + rows else None
        pagination = {"rows": rows, "count": len(shown), "nextPageToken": following}
        return httpx2.Response(200, json={"pagination": pagination, "result": shown})

    def _receipt(self) -> dict[str, Any]:
        is_erased = self.receipt_state == "ERASED"
        return {
            "receiptId": "receipt-1",
            "state": self.receipt_state,
            "requestedAt": AS_OF,
            "erasedAt": AS_OF if is_erased else None,
            "completeBy": "2026-12-28T10:00:00Z",
        }


def _as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()} | {
        name: str(row[name]) for name in ("gross", "coupons", "returned", "net")
    }


def _to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
