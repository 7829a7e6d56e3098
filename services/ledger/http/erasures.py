"""Handlers that erase users."""

from collections.abc import Callable, Sequence

from aiohttp import web

from services.chassis.runtime.errors import Problem
from services.chassis.security.audit import AuditLog
from services.ledger.flows import erase_user
from services.ledger.http.access import BASE, PRIVATE, Access
from services.ledger.http.responses import encode
from services.ledger.ports import Erasure
from services.topics import ERASURE_DAYS
from services.values.identifiers import validate_text
from services.values.instants import format_utc

ERASE = "sales:erase"
MAX_USER_ID_LENGTH = 256
_TOPICS_US = ERASURE_DAYS * 86_400_000_000


class ErasureApi:
    """Handlers of erasures; `wake` starts the work at once."""

    def __init__(self, *, deps: erase_user.Deps, access: Access, audit_log: AuditLog, wake: Callable[[], None]) -> None:
        self._deps = deps
        self._access = access
        self._audit_log = audit_log
        self._wake = wake

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            web.delete(BASE + "/users/{userId}", self.erase),
            web.get(BASE + "/erasures/{receiptId}", self.receipt),
        ]

    async def erase(self, request: web.Request) -> web.Response:
        """Erase a user."""
        caller = await self._access.authorize(request, ERASE)
        user_id = request.match_info["userId"]
        if (invalid := validate_text(user_id, max_length=MAX_USER_ID_LENGTH, min_length=1)) is not None:
            raise Problem(400, "INVALID_USER_ID", f"userId {invalid.phrase}")
        erasure = await erase_user.request_erasure(caller.site.site, user_id, self._deps)
        self._wake()
        self._audit_log.record(
            "erase-user",
            actor=caller.token.client_id,
            source=request.remote or "",
            site=caller.site.site,
            receipt=erasure.receipt,
        )
        location = f"{BASE.format(apiKey=caller.api_key)}/erasures/{erasure.receipt}"
        return _respond(erasure, status=202, headers={"Location": location})

    async def receipt(self, request: web.Request) -> web.Response:
        """The receipt of an erasure."""
        caller = await self._access.authorize(request, ERASE)
        receipt = request.match_info["receiptId"].lower()
        erasure = await self._deps.erasures.find(caller.site.site, receipt) if receipt.isascii() else None
        if erasure is None:
            raise Problem(404, "RECEIPT_NOT_FOUND", "there is no such receipt")
        return _respond(erasure, status=200)


def _respond(erasure: Erasure, *, status: int, headers: dict[str, str] | None = None) -> web.Response:
    completed_us = erasure.completed_us
    members = {
        "receiptId": erasure.receipt,
        "state": "ERASING" if completed_us is None else "ERASED",
        "requestedAt": format_utc(erasure.requested_us, digits=6),
        "erasedAt": None if completed_us is None else format_utc(completed_us, digits=6),
        "completeBy": format_utc(erasure.requested_us + _TOPICS_US, digits=6),
    }
    return web.Response(
        body=encode(members),
        status=status,
        headers={**PRIVATE, **(headers or {})},
        content_type="application/json",
        charset="utf-8",
    )
