import pytest

from services.values.identifiers import read_identifier, read_text, validate_text
from services.values.invalid import Invalid, InvalidKind


@pytest.mark.parametrize(
    ("value", "text"),
    [("1723ABC", "1723ABC"), (123, "123"), (0, "0"), (-7, "-7"), (10**29, "1" + "0" * 29), ("x" * 128, "x" * 128)],
)
def test_strings_and_integers_are_identifiers(value: object, text: str) -> None:
    assert read_identifier(value) == text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, InvalidKind.TYPE),
        (1.0, InvalidKind.TYPE),
        (None, InvalidKind.TYPE),
        ([], InvalidKind.TYPE),
        ("", InvalidKind.VALUE),
        ("x" * 129, InvalidKind.VALUE),
        (10**128, InvalidKind.VALUE),
        pytest.param(10**5000, InvalidKind.VALUE, id="5000 digits"),
        ("a\x1fb", InvalidKind.VALUE),
        ("\x7f", InvalidKind.VALUE),
        ("\x9f", InvalidKind.VALUE),
    ],
)
def test_anything_else_is_wrong(value: object, kind: InvalidKind) -> None:
    wrong = read_identifier(value)
    assert isinstance(wrong, Invalid)
    assert wrong.kind is kind


def test_a_free_text_may_be_empty_but_is_no_number() -> None:
    assert read_text("", max_length=3) == ""
    assert read_text("\u2028é ", max_length=3) == "\u2028é "
    assert isinstance(read_text(5, max_length=3), Invalid)


def test_a_wrong_text_is_not_quoted() -> None:
    wrong = validate_text("s3cret\x00", max_length=100)
    assert wrong is not None
    assert "s3cret" not in wrong.phrase
