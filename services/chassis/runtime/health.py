"""Liveness and readiness of a process, from the probes of its components."""

from collections.abc import Callable, Mapping

from services.chassis.runtime.logs import logger

Probe = Callable[[], bool]
_LOG = logger(__name__)


class Health:
    """Named probes. Ready: all readiness probes are True and the process is not draining. Live: all liveness probes."""

    def __init__(self) -> None:
        self._ready: dict[str, Probe] = {}
        self._live: dict[str, Probe] = {}
        self.draining = False

    def ready_when(self, name: str, probe: Probe) -> None:
        """Add a readiness probe."""
        self._ready[name] = probe

    def live_while(self, name: str, probe: Probe) -> None:
        """Add a liveness probe."""
        self._live[name] = probe

    def readiness(self) -> Mapping[str, bool]:
        """Return each readiness probe's result; `serving` is False while the process drains."""
        return {"serving": not self.draining, **_evaluate(self._ready)}

    def liveness(self) -> Mapping[str, bool]:
        """Return each liveness probe's result."""
        return _evaluate(self._live)


def _evaluate(probes: Mapping[str, Probe]) -> dict[str, bool]:
    return {name: _run_probe(name, probe) for name, probe in probes.items()}


def _run_probe(name: str, probe: Probe) -> bool:
    try:
        return bool(probe())
    except Exception:  # noqa: BLE001 - a failing probe must not hide the others' results
        _LOG.exception("probe failed", probe=name)
        return False
