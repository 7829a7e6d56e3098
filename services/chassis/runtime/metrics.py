"""Metrics: declared once with a description, exposed at `/metrics`, listed in the documentation."""

import collections
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry(auto_describe=True)
prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.GCCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)
BYTES = (256, 1_024, 4_096, 16_384, 65_536, 102_400, 1_048_576, 8_388_608)


class BisectingHistogram(Histogram):
    """A histogram whose bucket is found by bisection; it has no exemplars. Requests observe several."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count an observation."""
        del exemplar
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Count observations: many cost little more than one."""
        bounds = self._upper_bounds
        for bucket, count in collections.Counter(bisect_left(bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)
        self._sum.inc(sum(amounts))


@dataclass(frozen=True, slots=True)
class MetricDeclaration:
    """One metric, as the documentation lists it."""

    name: str
    kind: str
    description: str
    labels: tuple[str, ...]


DECLARED: dict[str, MetricDeclaration] = {}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")
_LABEL = re.compile(r"[a-z][a-z0-9_]*")


def counter(name: str, description: str, labels: Sequence[str] = ()) -> Counter:
    """Declare a counter; `name` ends in `_total`."""
    _declare(name, "counter", description, labels)
    return Counter(name, description, labels, registry=REGISTRY)


def gauge(name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
    """Declare a gauge."""
    _declare(name, "gauge", description, labels)
    return Gauge(name, description, labels, registry=REGISTRY)


def histogram(
    name: str, description: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS
) -> BisectingHistogram:
    """Declare a histogram; `name` ends in its unit."""
    _declare(name, "histogram", description, labels)
    return BisectingHistogram(name, description, labels, registry=REGISTRY, buckets=buckets)


def _declare(name: str, kind: str, sentence: str, labels: Sequence[str]) -> None:
    if name in DECLARED:
        raise ValueError(f"metric {name} is declared twice")
    if not _NAME.fullmatch(name) or (kind == "counter") != name.endswith("_total"):
        raise ValueError(f"{name} is not a valid name for a {kind}")
    if not sentence.endswith("."):
        raise ValueError(f"metric {name} has no description that ends in a full stop")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"metric {name} has invalid labels: {labels}")
    DECLARED[name] = MetricDeclaration(name, kind, sentence, tuple(labels))
