"""Metrics: declared once, with a name and a sentence that dashboards and documents can rely on."""

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from services.chassis.runtime import metrics


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declarations of a test end with it."""
    monkeypatch.setattr(metrics, "DECLARED", dict(metrics.DECLARED))
    monkeypatch.setattr(metrics, "REGISTRY", CollectorRegistry(auto_describe=True))


def test_what_is_declared_is_exposed_and_listed() -> None:
    metrics.counter("test_things_total", "Things.", ["kind"]).labels("a").inc(2)
    metrics.gauge("test_level", "Level.").set(3)
    metrics.histogram("test_wait_seconds", "Waiting.", buckets=(1, 2)).observe(1.5)
    text = generate_latest(metrics.REGISTRY).decode()
    assert 'test_things_total{kind="a"} 2.0' in text
    assert "test_level 3.0" in text
    assert 'test_wait_seconds_bucket{le="2.0"} 1.0' in text
    assert metrics.DECLARED["test_things_total"] == metrics.MetricDeclaration(
        "test_things_total", "counter", "Things.", ("kind",)
    )


@pytest.mark.parametrize("amounts", [[], [1.0], [0.0, 1.0, 1.5, 2.0, 2.5, 1e9, 1.5]])
def test_observations_made_together_are_those_made_one_by_one(amounts: list[float]) -> None:
    together = metrics.histogram("test_wait_seconds", "Waiting.", buckets=(1, 2))
    apart = metrics.histogram("test_other_seconds", "Waiting.", buckets=(1, 2))
    together.observe_all(amounts)
    for amount in amounts:
        apart.observe(amount)
    (found,), (expected,) = together.collect(), apart.collect()
    values = [[(sample.labels, sample.value) for sample in family.samples] for family in (found, expected)]
    assert values[0] == values[1]
    assert len(values[0]) == 5


def test_times_of_creation_are_not_exposed() -> None:
    metrics.counter("test_things_total", "Things.").inc()
    assert "_created" not in generate_latest(metrics.REGISTRY).decode()


def test_a_metric_is_declared_once() -> None:
    metrics.gauge("test_level", "Level.")
    with pytest.raises(ValueError, match="twice"):
        metrics.gauge("test_level", "Level.")


@pytest.mark.parametrize(
    ("name", "sentence", "labels"),
    [
        ("test_things", "Things.", ()),
        ("things-total", "Things.", ()),
        ("Test_things_total", "Things.", ()),
        ("test_things_total", "", ()),
        ("test_things_total", "Things", ()),
        ("test_things_total", "Things.", ("job id",)),
        ("test_things_total", "Things.", ("a", "a")),
    ],
)
def test_a_counter_that_nobody_could_read_is_refused(name: str, sentence: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=name):
        metrics.counter(name, sentence, labels)
    assert name not in metrics.DECLARED


def test_only_counters_are_called_total() -> None:
    with pytest.raises(ValueError, match="not a valid name for a gauge"):
        metrics.gauge("test_things_total", "Things.")
