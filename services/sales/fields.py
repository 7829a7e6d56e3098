"""The limits of every field, once, for records from JSON and from Kafka alike."""

from collections.abc import Sequence

from services.values.identifiers import MAX_ID_LENGTH, validate_text
from services.values.invalid import Invalid, InvalidKind
from services.values.pii import is_personal_data

LONGEST_USER_ID = 256
LONGEST_STORE_ID = 256
LONGEST_CHANNEL = 128
LONGEST_PAYMENT_METHOD = 64
LONGEST_HASH = 256
LONGEST_SEGMENT = 256
MOST_SEGMENTS = 1000
LONGEST_COUPON_CODE = 128
LONGEST_CREDIT_TYPE = 64
MOST_LINES = 500
LARGEST_QUANTITY = 2**31 - 1
SMALLEST_REGION, LARGEST_REGION = -(2**63), 2**63 - 1
AHEAD_US = 5 * 60 * 1_000_000

_PERSONAL = Invalid(InvalidKind.PERSONAL, "must be a hash, not personal data")
NO_QUANTITY = Invalid(InvalidKind.QUANTITY, f"must be an integer from 1 to {LARGEST_QUANTITY}")
_SEGMENTS = Invalid(InvalidKind.VALUE, f"must hold at most {MOST_SEGMENTS} segments")
_LINES = Invalid(InvalidKind.VALUE, f"must hold 1 to {MOST_LINES} lines")


def id_wrong(text: str, *, longest: int = MAX_ID_LENGTH) -> Invalid | None:
    """An identifier is not empty, bounded, and free of control characters."""
    return validate_text(text, max_length=longest, min_length=1)


def hash_wrong(text: str) -> Invalid | None:
    """A hash is a bounded text that is not the very thing it should hide."""
    if is_personal_data(text):
        return _PERSONAL
    return validate_text(text, max_length=LONGEST_HASH)


def quantity_wrong(quantity: int) -> Invalid | None:
    """A quantity is a positive 32-bit integer."""
    return None if 1 <= quantity <= LARGEST_QUANTITY else NO_QUANTITY


def lines_wrong(lines: Sequence[object]) -> Invalid | None:
    """A record has lines, and not too many."""
    return None if 1 <= len(lines) <= MOST_LINES else _LINES


def too_many_segments(segments: Sequence[object]) -> Invalid | None:
    """Whether there are more segments than are looked at."""
    return _SEGMENTS if len(segments) > MOST_SEGMENTS else None


def segments_wrong(segments: Sequence[str]) -> Invalid | None:
    """Segments are not too many, and each is a bounded text."""
    if wrong := too_many_segments(segments):
        return wrong
    for segment in segments:
        if wrong := validate_text(segment, max_length=LONGEST_SEGMENT):
            return Invalid(wrong.kind, f"has an element that {wrong.phrase}")
    return None
