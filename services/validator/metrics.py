"""Metrics of the validator."""

from services.chassis.runtime import metrics
from services.sales.faults import FaultCode
from services.sales.records import ORDERS, RETURNS

RECORDS = metrics.counter("validator_records_total", "Records judged.", ["kind", "outcome"])
FAULTS = metrics.counter("validator_faults_total", "Faults of rejected records.", ["code"])
PRODUCTS = metrics.gauge("validator_catalogue_products", "Products held in memory.")

# Exported from the start: `increase()` does not see the first increment of a series that appears with it.
for _kind in (ORDERS, RETURNS):
    for _outcome in ("accepted", "rejected", "unprocessable"):
        RECORDS.labels(_kind, _outcome)
for _code in FaultCode:
    FAULTS.labels(_code.value)
