"""Metrics of the operator service."""

from services.chassis.runtime import metrics

REPLAYED = metrics.counter("operator_replayed_total", "Dead letters that replays have sent back.")
REPLAYS = metrics.counter("operator_replays_total", "Replays that have ended, by how.", ["state"])
