"""What the validator counts."""

from services.chassis.runtime import metrics
from services.sales.faults import FaultCode
from services.sales.records import ORDERS, RETURNS

RECORDS = metrics.counter("validator_records_total", "Records judged.", ["kind", "outcome"])
FAULTS = metrics.counter("validator_faults_total", "Faults found.", ["code"])
PRODUCTS = metrics.gauge("validator_catalogue_products", "Products held in memory.")

# There from the first scrape on: a counter that appears with its first event seems not to have grown.
for _kind in (ORDERS, RETURNS):
    for _outcome in ("accepted", "rejected", "unprocessable"):
        RECORDS.labels(_kind, _outcome)
for _code in FaultCode:
    FAULTS.labels(_code.value)
