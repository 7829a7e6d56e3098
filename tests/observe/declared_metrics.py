"""What our processes promise to expose."""

import importlib
import pkgutil

import services
from services.chassis.runtime import metrics

# What Prometheus itself knows, and what its Python client tells of any process.
PROMETHEUS_SERIES = {"up": {"job", "instance"}, "ALERTS": {"alertstate"}}
PROCESS_PREFIXES = ("process_", "python_")
COMMON_LABELS = {"job", "instance", "le"}


def declared_series() -> dict[str, set[str]]:
    """Every series that may be asked for, with its labels."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    found = {name: set(known) for name, known in PROMETHEUS_SERIES.items()}
    for one in metrics.DECLARED.values():
        names = [one.name]
        if one.kind == "histogram":
            names = [f"{one.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")]
        found |= {name: set(one.labels) for name in names}
    return found
