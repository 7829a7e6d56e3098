"""Structured logs: JSON lines with the context of the request or task."""

import logging
import sys
import traceback
from typing import Any, TextIO

import structlog

MAX_VALUE_LENGTH = 200
_ROOT = logging.getLogger()
MAX_TRACEBACK_LINES = 60


def configure(service: str, level: str, *, stream: TextIO | None = None) -> None:
    """Write all logs, those of libraries included, to `stream` (default: stdout), one JSON object a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message"),
        _add_service(service),
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
    # Group joins and metadata requests at start log harmless errors; metrics and health cover the real ones.
    logging.getLogger("aiokafka").setLevel(max(logging.CRITICAL, root.level))
    logging.getLogger("pymongo").setLevel(max(logging.WARNING, root.level))
    # Its lines have the addresses of requests, which may name users.
    logging.getLogger("httpx2").setLevel(max(logging.WARNING, root.level))


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    return add


def _traceback(exc_info: structlog.typing.ExcInfo) -> str:
    """Format a traceback. Messages may quote user input, so lines and their number are limited."""
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    return "\n".join(line[:MAX_VALUE_LENGTH] for line in lines[-MAX_TRACEBACK_LINES:])


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a module's logger."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound


def logs_debug() -> bool:
    """Whether lines of level DEBUG are written; asking costs less than a line that is dropped."""
    return _ROOT.isEnabledFor(logging.DEBUG)


def bind(**context: str) -> None:
    """Add these fields (`jobId`, …) to every further log line of this request or task."""
    structlog.contextvars.bind_contextvars(**context)


def escape_for_log(text: str) -> str:
    """Escape user input and truncate it to 200 characters."""
    # Escaping never shortens text: what is cut off here would not have fit.
    escaped = text[: MAX_VALUE_LENGTH + 1].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= MAX_VALUE_LENGTH else escaped[: MAX_VALUE_LENGTH - 3] + "..."
