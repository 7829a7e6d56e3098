"""How checks and imports of files are shown."""

from datetime import UTC, datetime, timedelta

from services.portal.domain.file_import import FileImport, State, Wish

# What its owner reads, and the tone of its badge.
STATES = {
    State.WAITING: ("Waiting", "neutral"),
    State.RUNNING: ("In progress", "info"),
    State.PAUSED: ("Paused", "warning"),
    State.DONE: ("Done", "good"),
    State.FAILED: ("Stopped", "bad"),
    State.CANCELLED: ("Cancelled", "neutral"),
}
MINUTE_S, HOUR_S = 60, 3_600
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def describe_state(run: FileImport) -> tuple[str, str]:
    """Return the text of a state and its tone."""
    if run.state is State.RUNNING and run.wish is not Wish.RUN:
        return ("Stopping", "warning")
    if run.state is State.DONE and run.counts.faulty:
        return ("Done, with failures", "warning")
    return STATES[run.state]


def sentence(text: str, name: str) -> str:
    """Return a message as a sentence; the name of a file keeps its first letter."""
    begin = text if name and text.startswith(name) else f"{text[:1].upper()}{text[1:]}"
    return begin if begin.endswith(".") else f"{begin}."


def time_of(at_us: int) -> datetime:
    """Return a stored time."""
    return _EPOCH + timedelta(microseconds=at_us)


def duration(seconds: float) -> str:
    """Return a time that is left, as people say it."""
    if seconds < MINUTE_S:
        return "a minute"
    minutes = round(seconds / MINUTE_S)
    if seconds < HOUR_S:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{int(seconds // HOUR_S)} h {minutes % 60} min"
