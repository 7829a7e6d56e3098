"""Fixtures of the client's tests."""

import pytest

from tillstream._async import transport as async_transport
from tillstream._sync import jobs as sync_jobs
from tillstream._sync import transport as sync_transport


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No request waits: the pauses that a client would make are recorded."""
    taken: list[float] = []

    async def pause(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(async_transport, "async_sleep", pause)
    monkeypatch.setattr(sync_transport, "sleep", taken.append)
    monkeypatch.setattr(sync_jobs, "sleep", taken.append)
    return taken
