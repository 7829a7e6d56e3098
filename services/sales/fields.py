"""The limits of every field, once, for records from JSON and from Kafka alike."""

from collections.abc import Sequence

from services.values.identifiers import MAX_ID_LENGTH, validate_text
from services.values.invalid import Invalid, InvalidKind
from services.values.pii import is_personal_data

MAX_USER_ID_LENGTH = 256
MAX_STORE_ID_LENGTH = 256
MAX_CHANNEL_LENGTH = 128
MAX_PAYMENT_METHOD_LENGTH = 64
MAX_HASH_LENGTH = 256
MAX_SEGMENT_LENGTH = 256
MAX_SEGMENTS = 1000
MAX_COUPON_CODE_LENGTH = 128
MAX_CREDIT_TYPE_LENGTH = 64
MAX_LINES = 500
MAX_QUANTITY = 2**31 - 1
MIN_REGION_ID, MAX_REGION_ID = -(2**63), 2**63 - 1
MAX_FUTURE_US = 5 * 60 * 1_000_000

_PERSONAL = Invalid(InvalidKind.PERSONAL, "must be a hash, not personal data")
INVALID_QUANTITY = Invalid(InvalidKind.QUANTITY, f"must be an integer from 1 to {MAX_QUANTITY}")
_SEGMENTS = Invalid(InvalidKind.VALUE, f"must hold at most {MAX_SEGMENTS} segments")
_LINES = Invalid(InvalidKind.VALUE, f"must hold 1 to {MAX_LINES} lines")


def validate_id(text: str, *, max_length: int = MAX_ID_LENGTH) -> Invalid | None:
    """An identifier is not empty, bounded, and free of control characters."""
    return validate_text(text, max_length=max_length, min_length=1)


def validate_hash(text: str) -> Invalid | None:
    """A hash is a bounded text that is not the very thing it should hide."""
    if is_personal_data(text):
        return _PERSONAL
    return validate_text(text, max_length=MAX_HASH_LENGTH)


def validate_quantity(quantity: int) -> Invalid | None:
    """A quantity is a positive 32-bit integer."""
    return None if 1 <= quantity <= MAX_QUANTITY else INVALID_QUANTITY


def validate_line_count(lines: Sequence[object]) -> Invalid | None:
    """A record has lines, and not too many."""
    return None if 1 <= len(lines) <= MAX_LINES else _LINES


def validate_segment_count(segments: Sequence[object]) -> Invalid | None:
    """Whether there are more segments than are looked at."""
    return _SEGMENTS if len(segments) > MAX_SEGMENTS else None


def validate_segments(segments: Sequence[str]) -> Invalid | None:
    """Segments are not too many, and each is a bounded text."""
    if wrong := validate_segment_count(segments):
        return wrong
    for segment in segments:
        if wrong := validate_text(segment, max_length=MAX_SEGMENT_LENGTH):
            return Invalid(wrong.kind, f"has an element that {wrong.phrase}")
    return None
