"""Splits a request's body into records. Rejects a body that is not JSON, or holds too many records, as a whole."""

from typing import Any

from services.sales.batch import InvalidBodyError
from services.values.strict_json import JsonSyntaxError, check_utf8, parse, split_array, split_first_value

_WHITESPACE = b" \t\r\n"
_WRONG_TYPE = "The body must be an object or an array of objects"


def split_records(body: bytes, *, strict: bool, max_records: int) -> tuple[list[bytes], bool]:
    """Return the JSON text of each record, and whether stray characters after the first value were ignored.

    Raises `InvalidBodyError`, and nothing else. The texts are JSON; their depth is not checked yet.
    """
    try:
        check_utf8(body)
        value, is_tail_ignored = split_first_value(body, strict=strict)
    except JsonSyntaxError as error:
        raise malformed_json(error) from None
    texts = _split_objects(value.strip(_WHITESPACE), max_records=max_records)
    if texts is None:
        raise _explain(parse_at(value, base=0), max_records=max_records)
    return texts, is_tail_ignored


def parse_at(text: bytes, *, base: int) -> Any:
    """Parse a value of the body that begins at byte `base`. Raises `InvalidBodyError` if it nests too deeply.

    Lone surrogates stay in its strings.
    """
    try:
        return parse(text, keep_surrogates=True)
    except JsonSyntaxError as error:
        raise malformed_json(error, base=base) from None


def malformed_json(error: JsonSyntaxError, *, base: int = 0) -> InvalidBodyError:
    """Return the error of a body that is not JSON; the text that was parsed begins at byte `base` of it."""
    return InvalidBodyError(
        400, "MALFORMED_JSON", f"The body is not JSON: {error.reason} at byte {base + error.offset}"
    )


def _explain(value: object, *, max_records: int) -> InvalidBodyError:
    """The error of a body that is JSON and no batch."""
    if not isinstance(value, list):
        return InvalidBodyError(400, "INVALID_TYPE", _WRONG_TYPE)
    for position, item in enumerate(value):
        if not isinstance(item, dict):
            return InvalidBodyError(400, "INVALID_TYPE", _WRONG_TYPE, pointer=f"/{position}")
    if not value:
        return InvalidBodyError(400, "EMPTY_BATCH", "The body holds no record")
    allowed = "one record" if max_records == 1 else f"at most {max_records} records"
    detail = f"The body holds {len(value)} records; {allowed} can be sent in a request"
    return InvalidBodyError(413, "TOO_MANY_RECORDS", detail)


def _split_objects(value: bytes, *, max_records: int) -> list[bytes] | None:
    """The text of each record if the value is an object or a short enough array of objects, else None."""
    if value.startswith(b"{"):
        return [value]
    if not value.startswith(b"["):
        return None
    raws = split_array(value)
    if not 0 < len(raws) <= max_records:
        return None
    texts = [bytes(raw) for raw in raws]
    return texts if all(text.startswith(b"{") for text in texts) else None
