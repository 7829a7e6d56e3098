"""How the service is put together."""

from typing import Any

import pytest

from services.chassis.http.server import HttpServer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import PeriodicTask
from services.status.adapters.consumer_progress import KafkaConsumerProgress
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.app import build
from services.status.settings import Settings


async def test_who_waits_is_let_go_before_the_listener_waits_for_what_is_in_flight() -> None:
    """Parts stop in reverse order; the time that a wait takes would be taken from all that stop later."""
    service = await build(Settings(auth_jwks_url="http://127.0.0.1:1/keys"))
    stopping = [type(part) for part in reversed(service.components)]
    assert stopping.index(JobNotifier) < stopping.index(HttpServer)
    for part in service.components:
        if isinstance(part, Mongo):
            await part.close()


async def test_no_periodic_task_uses_the_database_before_its_indexes_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both name an index. On a new database it may not exist yet."""
    calls: list[str] = []

    async def note_call(*_: Any, **__: Any) -> list[Any]:
        calls.append("called")
        return []

    monkeypatch.setattr(MongoJobStore, "count_open", note_call)
    monkeypatch.setattr(MongoJobStore, "find_overdue", note_call)
    monkeypatch.setattr(KafkaConsumerProgress, "snapshot_end_offsets", note_call)
    service = await build(Settings(auth_jwks_url="http://127.0.0.1:1/keys"))
    tasks = [part for part in service.components if isinstance(part, PeriodicTask)]
    assert [await task.run_once() for task in tasks]
    assert calls == []
    for part in service.components:
        if isinstance(part, Mongo):
            await part.close()
