"""Parses untrusted JSON: strict syntax, UTF-8, bounded depth."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from services.values.decimals import HugeNumber, read_number
from services.values.identifiers import has_lone_surrogate

MAX_DEPTH = 64
_MAX_INTEGER_DIGITS = 1000

_BYTE = re.compile(r"\(byte (\d+)\)$")
_TRAILING = "trailing characters"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Matches runs of escapes that are no surrogates, surrogate pairs, and, as a group, a lone surrogate.
_ESCAPES = re.compile(
    rb"(?:\\(?:[^u]|u(?![dD][89a-fA-F])))+"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})",
    re.DOTALL,
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_IGNORABLE = re.compile(rb"(?:[ \t\r\n\]}]|\xc2\xa0)*")


class JsonSyntaxError(Exception):
    """A text is not JSON. `offset` is the byte of the error; `reason` never quotes the text."""

    def __init__(self, reason: str, *, offset: int) -> None:
        super().__init__(f"{reason} (byte {offset})")
        self.reason = reason
        self.offset = offset


def check_utf8(body: bytes) -> None:
    """Raise `JsonSyntaxError` unless all of `body` is UTF-8. The JSON decoder checks only what it decodes."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise JsonSyntaxError("not UTF-8", offset=error.start) from None


def replace_lone_surrogates(text: bytes) -> bytes:
    """Replace each escaped lone surrogate, which the decoder rejects, by an escape of U+FFFD of the same length."""
    if _SURROGATE.search(text) is None:
        return text
    return _ESCAPES.sub(lambda escape: escape[0] if escape[1] is None else rb"\ufffd", text)


def find_lone_surrogates(
    value: object, at: str = "", *, token: Callable[[str], str] = lambda name: name
) -> Iterator[str]:
    """Yield the JSON pointers of strings, and of names, that contain a lone surrogate.

    `token` returns a name as a pointer is to show it.
    """
    match value:
        case str() if has_lone_surrogate(value):
            yield at
        case list():
            for position, item in enumerate(value):
                yield from find_lone_surrogates(item, f"{at}/{position}", token=token)
        case dict():
            for name, child in value.items():
                pointer = f"{at}/{token(name)}"
                if has_lone_surrogate(name):
                    yield pointer
                yield from find_lone_surrogates(child, pointer, token=token)


def split_first_value(body: bytes, *, strict: bool) -> tuple[bytes, bool]:
    """Return the first JSON value in `body`, and whether trailing characters were ignored.

    Only whitespace, no-break spaces and closing brackets may be ignored; with `strict`, only whitespace. A byte order
    mark in front is blanked.
    """
    body = blank_byte_order_mark(body)
    try:
        _skip(body)
    except msgspec.DecodeError as error:
        if _TRAILING not in str(error):
            raise JsonSyntaxError(_reason(error), offset=_offset(error, body)) from None
        # The decoder reports the byte after the first trailing character.
        end = _offset(error, body) - 1
    except RecursionError:
        raise nesting_error(body) from None
    else:
        return body, False
    tail = _IGNORABLE.match(body, end)
    ignored = end if strict or tail is None else tail.end()
    if ignored < len(body):
        raise JsonSyntaxError("characters after the end", offset=ignored)
    return body[:end], True


def parse(text: bytes, *, keep_surrogates: bool = False) -> Any:
    """Decode one JSON value: fractions and exponents as Decimal, integers of any size; the last of equal keys wins.

    A byte order mark in front is skipped. Lone surrogates are an error, or kept. Raises nothing but `JsonSyntaxError`.
    """
    text = blank_byte_order_mark(text)
    try:
        value = _decode(text)
    except UnicodeDecodeError:
        check_utf8(text)
        raise
    except msgspec.ValidationError:
        # The fast decoder rejects integers of thousands of digits, which are valid JSON.
        split_first_value(text, strict=True)
        value = _parse_slowly(text)
    except msgspec.DecodeError as error:
        if keep_surrogates and (repaired := replace_lone_surrogates(text)) != text:
            parse(repaired)
            return _parse_slowly(text)
        raise JsonSyntaxError(_reason(error), offset=_offset(error, text)) from None
    except RecursionError:
        raise nesting_error(text) from None
    if _is_deeper(value, MAX_DEPTH):
        raise nesting_error(text)
    return value


def nesting_error(text: bytes) -> JsonSyntaxError:
    """Return the error about nesting, with the offset where the depth exceeds the maximum."""
    depth = 0
    for token in _TOKENS.finditer(text):
        match text[token.start()]:
            case 0x5B | 0x7B:
                depth += 1
                if depth > MAX_DEPTH:
                    return JsonSyntaxError("nested too deeply", offset=token.start())
            case 0x5D | 0x7D:
                depth -= 1
    return JsonSyntaxError("nested too deeply", offset=len(text))


def blank_byte_order_mark(text: bytes) -> bytes:
    """Return the text with blanks for a byte order mark in front, which is not JSON but is written by many editors."""
    # Blanks keep the offsets of errors.
    return b"   " + text[3:] if text.startswith(_BYTE_ORDER_MARK) else text


def _integer(literal: str) -> int | HugeNumber:
    return int(literal) if len(literal) <= _MAX_INTEGER_DIGITS else HugeNumber(literal)


def _parse_slowly(text: bytes) -> Any:
    try:
        return json.loads(text, parse_float=read_number, parse_int=_integer)
    except RecursionError:
        raise nesting_error(text) from None


def _is_deeper(value: object, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            if type(parent) is dict or type(parent) is list
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _offset(error: msgspec.DecodeError, text: bytes) -> int:
    found = _BYTE.search(str(error))
    return int(found[1]) if found else len(text)


def _reason(error: msgspec.DecodeError) -> str:
    # The decoder's messages never quote the input: "invalid character", "expected ':'".
    message = _BYTE.sub("", str(error)).removeprefix("JSON is malformed: ").strip()
    return "ends too early" if "truncated" in message else message


_skip = msgspec.json.Decoder(msgspec.Raw).decode
# Returns the undecoded elements of an array that `split_first_value` has accepted.
split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(float_hook=read_number).decode
