"""The audit log: one log line per action, with actor and source."""

import logging

from services.chassis.runtime import logs

_LOG = logs.logger("audit")


class AuditLog:
    """Writes audit lines, which have the message `audit`."""

    def __init__(self) -> None:
        # They are written whatever the level of the other logs.
        logging.getLogger("audit").setLevel(logging.INFO)

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Write a line. Details must hold no code, secret or personal data."""
        _LOG.info(
            "audit", action=action, actor=logs.escape_for_log(actor), source=logs.escape_for_log(source), **details
        )
