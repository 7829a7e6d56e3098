import logging

from structlog.testing import capture_logs

from services.chassis.security.audit import AuditLog


def test_a_line_says_who_did_what_and_from_where_and_what_strangers_sent_is_made_visible() -> None:
    with capture_logs() as lines:
        AuditLog().record("codes shown", actor="client\n7", source="10.0.0.1" * 100, count=3)
    (line,) = lines
    assert line["event"] == "audit"
    assert line["log_level"] == "info"
    assert (line["action"], line["count"]) == ("codes shown", 3)
    assert "\n" not in line["actor"]
    assert len(line["source"]) <= 201


def test_lines_are_written_whatever_the_level_of_the_other_logs() -> None:
    AuditLog()
    assert logging.getLogger("audit").isEnabledFor(logging.INFO)
