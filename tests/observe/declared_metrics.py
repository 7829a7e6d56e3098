"""The metrics that the services declare."""

import importlib
import pkgutil

import services
from services.chassis.runtime import metrics

# Series of Prometheus itself, and prefixes of the Python client's own metrics.
PROMETHEUS_SERIES = {"up": {"job", "instance"}, "ALERTS": {"alertstate"}}
PROCESS_PREFIXES = ("process_", "python_")
COMMON_LABELS = {"job", "instance", "le"}


def declared_series() -> dict[str, set[str]]:
    """Return every series that may be queried, with its labels."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    found = {name: set(known) for name, known in PROMETHEUS_SERIES.items()}
    for declaration in metrics.DECLARED.values():
        names = [declaration.name]
        if declaration.kind == "histogram":
            names = [f"{declaration.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        found |= {name: set(declaration.labels) for name in names}
    return found
