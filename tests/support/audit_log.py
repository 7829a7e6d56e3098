"""An audit log whose lines tests read."""

from services.chassis.security.audit import AuditLog


class FakeAuditLog(AuditLog):
    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        self.lines.append({"action": action, "actor": actor, "source": source, **details})
