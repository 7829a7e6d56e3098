"""Is the process alive, and is it ready? Answered from what its parts say of themselves."""

from collections.abc import Callable, Mapping

from services.chassis.runtime.logs import logger

Probe = Callable[[], bool]
_LOG = logger(__name__)


class Health:
    """Probes by name. Ready: every readiness probe holds and nothing drains. Live: every liveness probe holds."""

    def __init__(self) -> None:
        self._ready: dict[str, Probe] = {}
        self._live: dict[str, Probe] = {}
        self.draining = False

    def ready_when(self, name: str, probe: Probe) -> None:
        """The process is not ready while `probe` returns False."""
        self._ready[name] = probe

    def live_while(self, name: str, probe: Probe) -> None:
        """The process is not live once `probe` returns False."""
        self._live[name] = probe

    def readiness(self) -> Mapping[str, bool]:
        """Each readiness probe's word; `serving`, which says no while draining, is one of them."""
        return {"serving": not self.draining, **_evaluate(self._ready)}

    def liveness(self) -> Mapping[str, bool]:
        """Each liveness probe's word."""
        return _evaluate(self._live)


def _evaluate(probes: Mapping[str, Probe]) -> dict[str, bool]:
    return {name: _holds(name, probe) for name, probe in probes.items()}


def _holds(name: str, probe: Probe) -> bool:
    try:
        return bool(probe())
    except Exception:  # noqa: BLE001 - a probe that cannot tell must not hide what the others say
        _LOG.exception("a probe failed", probe=name)
        return False
