"""What the validator counts."""

from services.chassis import metrics

RECORDS = metrics.counter("validator_records_total", "Records judged.", ["kind", "outcome"])
FAULTS = metrics.counter("validator_faults_total", "Faults found.", ["code"])
PRODUCTS = metrics.gauge("validator_catalogue_products", "Products held in memory.")
