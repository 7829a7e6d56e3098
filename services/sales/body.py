"""A request's body: JSON or not, and how many records. What is refused here is refused as a whole."""

from typing import Any

from services.sales.batch import MAX_RECORDS, InvalidBodyError
from services.values.strict_json import JsonSyntaxError, check_utf8, parse, split_array, split_first_value

_SPACE = b" \t\r\n"
_TYPE = "The body must be an object or an array of objects"


def split_records(body: bytes, *, strict: bool, max_records: int) -> tuple[list[bytes], bool]:
    """The JSON text of each record, and whether stray characters after the first value were ignored.

    Raises `BodyRefused`, and nothing else. The texts are JSON; their depth is not checked yet.
    """
    try:
        check_utf8(body)
        value, is_tail_ignored = split_first_value(body, strict=strict)
    except JsonSyntaxError as bad:
        raise malformed(bad) from None
    texts = _texts(value.strip(_SPACE), most=max_records)
    if texts is None:
        raise _refused(parse_at(value, base=0), most=max_records)
    return texts, is_tail_ignored


def parse_at(text: bytes, *, base: int) -> Any:
    """Decode one value of the body, which begins at byte `base`. Raises `BodyRefused` where it nests too deeply."""
    try:
        return parse(text)
    except JsonSyntaxError as bad:
        raise malformed(bad, base=base) from None


def malformed(bad: JsonSyntaxError, *, base: int = 0) -> InvalidBodyError:
    """The refusal of what is not JSON; `base` is where the text that was looked at begins in the body."""
    return InvalidBodyError(400, "MALFORMED_JSON", f"The body is not JSON: {bad.reason} at byte {base + bad.offset}")


def _refused(value: object, *, most: int) -> InvalidBodyError:
    """Why a body that is JSON cannot be a batch."""
    if not isinstance(value, list):
        return InvalidBodyError(400, "INVALID_TYPE", _TYPE)
    for position, item in enumerate(value):
        if not isinstance(item, dict):
            return InvalidBodyError(400, "INVALID_TYPE", _TYPE, pointer=f"/{position}")
    if not value:
        return InvalidBodyError(400, "EMPTY_BATCH", "The body holds no record")
    allowed = "one record" if most == 1 else f"at most {most} records"
    detail = f"The body holds {len(value)} records; {allowed} can be sent in a request"
    return InvalidBodyError(413, "TOO_MANY_RECORDS", detail)


def get_max_records(*, is_single: bool) -> int:
    """How many records a request can hold."""
    return 1 if is_single else MAX_RECORDS


def _texts(value: bytes, *, most: int) -> list[bytes] | None:
    """The text of each record, where the value is an object or an array of so many objects; else None."""
    if value.startswith(b"{"):
        return [value]
    if not value.startswith(b"["):
        return None
    raws = split_array(value)
    if not 0 < len(raws) <= most:
        return None
    texts = [bytes(raw) for raw in raws]
    return texts if all(text.startswith(b"{") for text in texts) else None
