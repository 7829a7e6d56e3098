import pytest

from services.values.identifiers import read_identifier, read_text, text_wrong
from services.values.invalid import Kind, Wrong


@pytest.mark.parametrize(
    ("value", "text"),
    [("1723ABC", "1723ABC"), (123, "123"), (0, "0"), (-7, "-7"), (10**29, "1" + "0" * 29), ("x" * 128, "x" * 128)],
)
def test_strings_and_integers_are_identifiers(value: object, text: str) -> None:
    assert read_identifier(value) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, Kind.TYPE),
        (1.0, Kind.TYPE),
        (None, Kind.TYPE),
        ([], Kind.TYPE),
        ("", Kind.VALUE),
        ("x" * 129, Kind.VALUE),
        (10**128, Kind.VALUE),
        pytest.param(10**5000, Kind.VALUE, id="5000 digits"),
        ("a\x1fb", Kind.VALUE),
        ("\x7f", Kind.VALUE),
        ("\x9f", Kind.VALUE),
    ],
)
def test_anything_else_is_wrong(value: object, kind: Kind) -> None:
    wrong = read_identifier(value)
    assert isinstance(wrong, Wrong)
    assert wrong.kind is kind


def test_a_free_text_may_be_empty_but_is_no_number() -> None:
    assert read_text("", longest=3) == ""
    assert read_text("\u2028é ", longest=3) == "\u2028é "
    assert isinstance(read_text(5, longest=3), Wrong)


def test_a_wrong_text_is_not_quoted() -> None:
    wrong = text_wrong("s3cret\x00", longest=100)
    assert wrong is not None
    assert "s3cret" not in wrong.phrase
