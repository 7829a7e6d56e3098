"""Who did what, when, from where: one log line each."""

import logging

from services.chassis.runtime import logs

log = logs.logger("audit")


class AuditLog:
    """Audit lines among the logs, told apart by their message `audit`."""

    def __init__(self) -> None:
        # They are written whatever the level of the other logs.
        logging.getLogger("audit").setLevel(logging.INFO)

    def note(self, what: str, *, who: str, where: str, **details: object) -> None:
        """Leave a line."""
        log.info("audit", what=what, who=logs.visible(who), where=logs.visible(where), **details)
