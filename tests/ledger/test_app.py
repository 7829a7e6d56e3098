"""How the ledger is put together."""

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask
from services.ledger import app
from services.ledger.flows import expire_entries
from services.ledger.settings import Settings


async def test_entries_expire_after_the_days_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[timedelta] = []
    steps: dict[str, Callable[[], Awaitable[object]]] = {}

    async def note_retention(_deps: Any, *, retention: timedelta) -> int:
        given.append(retention)
        return 0

    def note_task(name: str, step: Callable[[], Awaitable[object]], **options: Any) -> PeriodicTask:
        steps[name] = step
        return PeriodicTask(name, step, **options)

    monkeypatch.setattr(expire_entries, "expire_entries", note_retention)
    monkeypatch.setattr(app, "PeriodicTask", note_task)
    key = SecretStr(base64.b64encode(b"k" * 32).decode())
    service = await app.build(
        Settings(auth_jwks_url="http://127.0.0.1:1/keys", erasure_key=key, ledger_retention_days=1_234)
    )
    await steps["retention"]()
    assert given == [timedelta(days=1_234)]
    for part in service.components:
        if isinstance(part, Mongo):
            await part.close()
