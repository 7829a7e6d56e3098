"""Which of the stored texts a reader needs: the others are not fetched."""

from enum import Flag, auto


class Texts(Flag):
    """Texts of entries."""

    ROWS = auto()
    EVENTS = auto()
    DETAILS = auto()


NO_TEXTS = Texts(0)
EVENTS_ONLY = Texts.EVENTS
ALL_EVENTS = Texts.EVENTS | Texts.ROWS
RECORDS = Texts.ROWS | Texts.DETAILS
