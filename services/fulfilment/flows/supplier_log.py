"""Logs failing suppliers, at most once a minute each."""

from collections.abc import Callable

from services.chassis.runtime.logs import logger
from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.domain.transaction import TransactionLine

LOG_INTERVAL_US = 60 * MICROS_PER_SECOND
_LOG = logger(__name__)


class SupplierLog:
    """Each entry names one order, as an example of all that wait for the same supplier."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._logged_us: dict[str, int] = {}

    def log_unavailable(self, line: TransactionLine, transaction_id: str, *, dependency: str) -> None:
        """Log that the supplier could not be reached because `dependency` is unavailable."""
        if self._is_due(line.supplier):
            _LOG.warning(
                "supplier unavailable",
                supplier=line.supplier,
                dependency=dependency,
                sku=line.sku,
                transactionId=transaction_id,
            )

    def log_unknown(self, line: TransactionLine, transaction_id: str) -> None:
        """Log that the installation has no such supplier."""
        if self._is_due(line.supplier):
            _LOG.error("no such supplier", supplier=line.supplier, sku=line.sku, transactionId=transaction_id)

    def _is_due(self, supplier: str) -> bool:
        now_us, logged_us = self._now_us(), self._logged_us.get(supplier)
        if logged_us is not None and 0 <= now_us - logged_us < LOG_INTERVAL_US:
            return False
        self._logged_us[supplier] = now_us
        return True
