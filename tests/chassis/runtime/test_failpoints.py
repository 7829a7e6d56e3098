"""A process dies where it was told to, and nowhere else."""

import os
import signal

import pytest

from services.chassis.runtime.failpoints import failpoint


@pytest.mark.parametrize(
    ("told", "calls"),
    [(None, None), ("", None), ("other", None), ("here", 1), ("here:3", 3), ("other:1,here:2", 2), ("hereafter", None)],
)
def test_it_dies_the_first_time_or_the_nth(
    monkeypatch: pytest.MonkeyPatch, told: str | None, calls: int | None
) -> None:
    deaths: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *what: deaths.append(what))
    if told is None:
        monkeypatch.delenv("FAILPOINTS", raising=False)
    else:
        monkeypatch.setenv("FAILPOINTS", told)
    reach, died_at = failpoint("here"), None
    for call in range(1, 5):
        reach()
        if deaths and died_at is None:
            died_at = call
    assert died_at == calls
    assert set(deaths) <= {(os.getpid(), signal.SIGKILL)}
