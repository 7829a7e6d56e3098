"""JSON lines, with what is known of the request bound to each."""

import logging
import sys
import traceback
from typing import Any, TextIO

import structlog

MAX_VALUE_LENGTH = 200
MAX_TRACEBACK_LINES = 60


def configure(service: str, level: str, *, stream: TextIO | None = None) -> None:
    """Send everything that is logged, third parties' words included, as one JSON object a line to `stream` (stdout)."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message"),
        _name(service),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:-2],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared[:-2],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_traceback),
                *shared[-2:],
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Group joins and topic look-ups at start log harmless errors; our own metrics and health tell what matters.
    logging.getLogger("aiokafka").setLevel(max(logging.CRITICAL, root.level))
    logging.getLogger("pymongo").setLevel(max(logging.WARNING, root.level))


def _name(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add


def _traceback(exc_info: structlog.typing.ExcInfo) -> str:
    """Where it happened. An exception's message may quote what was sent: no line grows long, nor the whole."""
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    return "\n".join(line[:MAX_VALUE_LENGTH] for line in lines[-MAX_TRACEBACK_LINES:])


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    found: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return found


def bind(**known: str) -> None:
    """Let every line of this request or task, from here on, carry what has become known (`jobId`, …)."""
    structlog.contextvars.bind_contextvars(**known)


def escape_for_log(text: str) -> str:
    """What a user sent, fit for a log line: escaped, and at most 200 characters of it."""
    # Escaping makes text longer, never shorter: what is cut off here could not have been shown.
    escaped = text[: MAX_VALUE_LENGTH + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= MAX_VALUE_LENGTH else escaped[: MAX_VALUE_LENGTH - 3] + "..."
