"""Who did what, when, from where: one log line each."""

import logging

from services.chassis.runtime import logs

log = logs.logger("audit")


class AuditLog:
    """Audit lines among the logs, told apart by their message `audit`."""

    def __init__(self) -> None:
        # They are written whatever the level of the other logs.
        logging.getLogger("audit").setLevel(logging.INFO)

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Leave a line."""
        log.info(
            "audit", action=action, actor=logs.escape_for_log(actor), source=logs.escape_for_log(source), **details
        )
