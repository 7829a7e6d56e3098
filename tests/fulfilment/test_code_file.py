"""Files of codes: what is sold, and what is refused with the number of its line."""

import pytest

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.code_file import InvalidCodeFileError, parse_code_file
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import parse_codes

CODES = [Code("D-1", "1234"), Code("D-2"), Code('D"3', "0 1")]


@pytest.mark.parametrize(
    "text",
    [
        'D-1,1234\nD-2\n"D""3",0 1\n',
        '"D-1","1234"\r\n"D-2"\r\n"D""3","0 1"\r\n',
        '"D-1",1234\rD-2\r"D""3","0 1"',
        '\n  D-1 ,\t1234 \n\n "D-2" \n"D""3" , "0 1"\n \n',
        '" D-1 "," 1234"\n\u00a0D-2\u200b\n"D""3",0 1',
        'code,pin\nD-1,1234\nD-2\n"D""3",0 1\n',
        '"Redeem Code","PIN Code"\r\nD-1,1234\r\nD-2\r\n"D""3",0 1\r\n',
        'redeem_code,pinCode\nD-1,1234\nD-2\n"D""3",0 1\n',
        '\n#Voucher Code, PIN\nD-1,1234\nD-2\n"D""3",0 1\n',
        'sep=,\nCODE\nD-1,1234\nD-2\n"D""3",0 1\n',
    ],
    ids=["plain", "quoted", "old Mac", "blanks", "inside", "header", "spoken", "snake", "comment", "Excel"],
)
def test_one_file_in_all_its_spellings(text: str) -> None:
    assert parse_code_file(text) == CODES


@pytest.mark.parametrize("text", ["E-1;1234", "E-1\t1234", "E-1|1234", "code;pin", '"E-1";"1234"', "sep=;"])
def test_another_delimiter_is_refused(text: str) -> None:
    (number, reason) = fault(f"A-1,1\n{text}\nB-1,1")
    assert (number, "comma" in reason) == (2, True)
    assert fault(f"{text}\nB-1,1")[0] == 1


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("A-1\nG-1,1234,2027-01-31\n", 2, "it has 3 columns instead of code and PIN"),
        ("code,pin,expiry\nG-1,1234,2027-01-31\n", 1, "it has 3 columns"),
        ("A-1,1,\n", 1, "it has 3 columns"),
        ("1.23457E+15\n", 1, "the code must not be a number in scientific notation"),
        ("1,23457E+15\n", 1, "the PIN must not be a number in scientific notation"),
        ('"1.2e15"\n', 1, "the code must not be a number in scientific notation"),
        ("1E+15\n", 1, "the code must not be a number in scientific notation"),
        ('A-1,""\n', 1, "the PIN must not be empty"),
        (",1234\n", 1, "the code must not be empty"),
        ('A-1\n" "\n', 2, "the code must not be empty"),
        ('A-1\n"B-1\n', 2, "quotes must enclose a whole field"),
        ('A-1\nB"1\n', 2, "quotes must enclose a whole field"),
        ('A-1\n"B"1\n', 2, "quotes must enclose a whole field"),
        ('="0012"\n', 1, "quotes must enclose a whole field"),
        ("A\x00B1\n", 1, "the code must not contain control characters"),
        ("A-1\ncode,pin\nB-1\n", 2, "a header is only expected in the first line"),
        ("pin,code\n1234,A-1\n", 1, "it looks like a header"),
        ("Gutscheincode,Geheimzahl\nA-1,1234\n", 1, "it looks like a header"),
        ("Gutscheincode\n", 1, "it looks like a header"),
        ("Meine Karten\nA-1-ABCDEFGH\nA-2-ABCDEFGH\n", 1, "it looks like a header"),
        ("Wert\nA-1\nA-2\n", 1, "it looks like a header"),
        ("KARTE\nA-1\nA-2\n", 1, "it looks like a header"),
        ("", 1, "the file has no code"),
        ("code,pin\n", 1, "the file has no code"),
    ],
)
def test_rubbish_is_refused_by_its_line(text: str, number: int, reason: str) -> None:
    found = fault(text)
    assert found[0] == number
    assert reason in found[1]


@pytest.mark.parametrize(
    "code",
    ["1E5", "12E45", "1234E-5678", "AB:CD", "E-1 1234", "=A1", "1234567890123456", "MONKEY", "'x'", "12.5", "Ä1"],
)
def test_codes_of_unusual_shape_are_sold(code: str) -> None:
    assert parse_code_file(f"A-1\n{code}\n") == [Code("A-1"), Code(code)]


def test_a_first_code_without_digits_is_no_header() -> None:
    assert len(parse_code_file("QWFPGJLU\nARSTDHN7\nZXCVBKM2\n")) == 3
    assert len(parse_code_file("qwfpgjlu\narstdhn7\nzxcvbkm2\n")) == 3
    assert len(parse_code_file("ab\ncd\n")) == 2


def test_every_faulty_line_is_named_and_none_is_quoted() -> None:
    with pytest.raises(InvalidCodeFileError) as refused:
        parse_code_file("OK-1\nSECRET;1\nOK-2\nSECRET,1,1\n" + "SECRET" * 100)
    assert [number for number, _ in refused.value.faults] == [2, 4, 5]
    assert "SECRET" not in str(refused.value.faults)


@pytest.mark.parametrize("text", ['"' + 'a""' * 200_000, " " * 300_000 + '"x', '"a"' + " " * 300_000 + "x"])
def test_a_long_line_takes_no_long_time(text: str) -> None:
    assert fault("A-1\n" + text)[0] == 2


def fault(text: str) -> tuple[int, str]:
    with pytest.raises(InvalidCodeFileError) as refused:
        parse_code_file(text)
    return refused.value.faults[0]


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n", "\u00a0", "\ufeff", "\u200b"])
def test_blanks_around_a_code_are_no_part_of_it_over_http_either(blank: str) -> None:
    entries = [f"{blank}Q1{blank}", {"redeemCode": f"Q1{blank}", "pinCode": f"{blank}7"}]
    assert parse_codes(entries) == [Code("Q1"), Code("Q1", "7")]
    for entry, pointer in ((blank, "/codes/0"), ({"redeemCode": "Q", "pinCode": blank}, "/codes/0/pinCode")):
        with pytest.raises(InvalidRequestError) as refused:
            parse_codes([entry])
        assert [(item.pointer, item.code) for item in refused.value.faults] == [(pointer, "INVALID_VALUE")]


@pytest.mark.parametrize(("first", "second"), [("A-1,1", "A-1,2"), ("A-1,1", '"A-1",2')])
def test_one_code_with_two_pins_is_refused(first: str, second: str) -> None:
    """Which of them would be sold was chance."""
    number, reason = fault(f"code,pin\n{first}\nB-1,1\n{second}\n{first}")
    assert (number, reason) == (4, "line 2 has the same code with another PIN")
    rows = [
        dict(zip(("redeemCode", "pinCode"), line.strip().replace('"', "").split(","), strict=False))
        for line in (first, second)
    ]
    with pytest.raises(InvalidRequestError) as error:
        parse_codes(rows)
    assert [(each.pointer, each.detail) for each in error.value.faults] == [
        ("/codes/1", "/codes/0 has the same code with another PIN")
    ]


def test_a_code_without_a_pin_hides_no_other_pin() -> None:
    """Breaks: both PINs are compared with a first line that has none."""
    assert fault("A-1\nA-1,1\nA-1,2") == (3, "line 2 has the same code with another PIN")
    assert fault("A-1\nA-1,1\nA-1\nA-1,2") == (4, "line 2 has the same code with another PIN")
    entries = ["A-1", {"redeemCode": "A-1", "pinCode": "1"}, {"redeemCode": "A-1", "pinCode": "2"}]
    with pytest.raises(InvalidRequestError) as error:
        parse_codes(entries)
    assert [(each.pointer, each.detail) for each in error.value.faults] == [
        ("/codes/2", "/codes/1 has the same code with another PIN")
    ]
    assert parse_codes(entries[:2]) == [Code("A-1"), Code("A-1", "1")]


def test_one_code_twice_with_one_pin_is_one() -> None:
    assert parse_code_file("A-1,1\nA-1,1\n") == [Code("A-1", "1")] * 2
