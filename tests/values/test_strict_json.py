import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.decimals import HugeNumber
from services.values.strict_json import (
    MAX_DEPTH,
    JsonSyntaxError,
    check_utf8,
    parse,
    replace_lone_surrogates,
    split_array,
    split_first_value,
)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc\u00e9"), inner, max_size=3),
)


@given(value=VALUES, ascii_only=st.booleans())
def test_json_is_read(*, value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse(text) == value
    assert split_first_value(text, strict=True) == (text, False)


@given(st.binary(max_size=80) | st.text('[]{}":,0123456789.eE+-truefalsnNaI\\u ', max_size=80).map(str.encode))
def test_anything_is_read_or_malformed(text: bytes) -> None:
    try:
        parse(text)
    except JsonSyntaxError as bad:
        assert 0 <= bad.offset <= len(text)


@given(st.text('[]{}":,01.e-\\u ', max_size=40))
def test_what_is_read_is_json_to_others_too(text: str) -> None:
    try:
        parse(text.encode())
    except JsonSyntaxError:
        return
    json.loads(text)


def test_numbers_are_exact() -> None:
    read = parse(b"[1.10, 1e400, -0.0, 123456789012345678901234567890]")
    assert [str(number) for number in read] == ["1.10", "1E+400", "-0.0", "123456789012345678901234567890"]
    assert isinstance(read[0], Decimal)


def test_numbers_without_bounds_keep_their_literals() -> None:
    digits = "7" * 5000
    read = parse(f'{{"i": {digits}, "e": 1e99999999999999999999, "f": 1.5}}'.encode())
    assert isinstance(read["i"], HugeNumber)
    assert isinstance(read["e"], HugeNumber)
    assert (read["i"].literal, read["f"]) == (digits, Decimal("1.5"))


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_beside_a_number_without_bounds_nothing_else_is_let_through(word: str) -> None:
    with pytest.raises(JsonSyntaxError):
        parse(f"[{'7' * 5000}, {word}]".encode())


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"a":[', "]}")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    times = MAX_DEPTH // opening.count("[") if opening == "[" else MAX_DEPTH // (1 + opening.count("["))
    parse((opening * times + "1" + closing * times).encode())
    with pytest.raises(JsonSyntaxError, match="nested too deeply"):
        parse((opening * (times + 1) + "1" + closing * (times + 1)).encode())
    with pytest.raises(JsonSyntaxError, match="nested too deeply"):
        split_first_value((opening * 100_000).encode(), strict=False)


def test_brackets_in_texts_are_no_depth() -> None:
    text = ('{"a":"' + "[" * 100 + '\\"[","b":' + "[" * 70 + "]" * 70 + "}").encode()
    with pytest.raises(JsonSyntaxError) as bad:
        parse(text)
    assert text[: bad.value.offset].endswith(b'"b":' + b"[" * (MAX_DEPTH - 1))


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b"", 0),
        (b"  ", 2),
        (b"[1", 2),
        (b"[1,]", 3),
        (b"x", 0),
        (b"NaN", 0),
        (b"[01]", 2),
        (b'"a\nb"', 2),
        (b"[] x", 3),
        (b'["\xff"]', 2),
    ],
)
def test_the_place_is_told(text: bytes, offset: int) -> None:
    with pytest.raises(JsonSyntaxError) as bad:
        split_and_parse(text)
    assert bad.value.offset == offset


def split_and_parse(text: bytes) -> None:
    check_utf8(text)
    split_first_value(text, strict=False)


@pytest.mark.parametrize("tail", [b" ", b"\n\t\r "])
def test_space_behind_is_nothing(tail: bytes) -> None:
    assert split_first_value(b"[1]" + tail, strict=True) == (b"[1]" + tail, False)


@pytest.mark.parametrize("tail", [b"]", b" }", b"\xc2\xa0", b"\n ]} \xc2\xa0}"])
def test_stray_closings_are_ignored_unless_strict(tail: bytes) -> None:
    value, is_tail_ignored = split_first_value(b"[1]" + tail, strict=False)
    assert (parse(value), is_tail_ignored) == ([1], True)
    with pytest.raises(JsonSyntaxError, match="after the end"):
        split_first_value(b"[1]" + tail, strict=True)


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(BYTE_ORDER_MARK + b'{"a": 1}') == {"a": 1}
    value, is_tail_ignored = split_first_value(BYTE_ORDER_MARK + b" [1]", strict=True)
    assert (parse(value), is_tail_ignored) == ([1], False)


@pytest.mark.parametrize(
    ("text", "offset"),
    [(BYTE_ORDER_MARK, 3), (BYTE_ORDER_MARK * 2 + b"[]", 3), (b"[" + BYTE_ORDER_MARK + b"]", 1)],
)
def test_only_one_byte_order_mark_in_front_is_skipped(text: bytes, offset: int) -> None:
    for read in (parse, split_and_parse):
        with pytest.raises(JsonSyntaxError) as bad:
            read(text)
        assert bad.value.offset == offset


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (r"\ud83d\ude00", r"\ud83d\ude00"),
        (r"\uD83D\uDE00\u00e9\n", r"\uD83D\uDE00\u00e9\n"),
        (r"\\ud83d", r"\\ud83d"),
        (r"\ud83d", r"\ufffd"),
        (r"\udE00", r"\ufffd"),
        (r"\ude00\ud83d", r"\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
        (r"\ud83d\\ude00", r"\ufffd\\ude00"),
        (r"\\ud83d\ude00", r"\\ud83d\ufffd"),
        (r"\ud83dx\n\\\ud83d", r"\ufffdx\n\\\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced_where_they_are(text: str, repaired: str) -> None:
    assert replace_lone_surrogates(f'["{text}"]'.encode()) == f'["{repaired}"]'.encode()
    parse(f'["{repaired}"]'.encode())


@given(st.lists(st.sampled_from([r"\ud83d", r"\uDe00", r"\\", r"\n", r"\u00e9", "u", "d", "x", " "])))
def test_a_text_without_lone_surrogates_is_json_to_the_decoder(pieces: list[str]) -> None:
    text = f'["{"".join(pieces)}"]'.encode()
    repaired = replace_lone_surrogates(text)
    parse(repaired)
    replaced = [json.loads(text)[0], parse(repaired)[0]]
    assert re.sub("[\ud800-\udfff]", "\ufffd", replaced[0]) == replaced[1]


def test_elements_are_left_as_they_are() -> None:
    assert [bytes(raw) for raw in split_array(b' [ {"a" : 1.0} , 5 ]')] == [b'{"a" : 1.0}', b"5"]
