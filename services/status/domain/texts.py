"""Which of the stored texts a reader needs: the others are not fetched."""

from enum import Flag, auto


class Projection(Flag):
    """Texts of entries."""

    ROWS = auto()
    EVENTS = auto()
    DETAILS = auto()


NO_PROJECTION = Projection(0)
FAULT_EVENTS = Projection.EVENTS
ALL_EVENTS = Projection.EVENTS | Projection.ROWS
RECORDS = Projection.ROWS | Projection.DETAILS
