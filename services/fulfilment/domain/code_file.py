"""Files of codes (RFC 4180): one code per line, its PIN after a comma."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from services.fulfilment.domain.code import Code
from services.fulfilment.domain.order_request import Fault
from services.fulfilment.domain.stock_request import parse_code, refuse_other_pins

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# A quoted field, in which quotes are doubled, or a plain one; blanks around either; then a comma or the end.
_FIELD = re.compile(r'[ \t]*+(?:"((?:[^"]|"")*+)"[ \t]*+|([^",]*+))(,|\Z)')
_OTHER_DELIMITER = re.compile(r"[;|\t]")
_DIGIT = re.compile(r"[0-9]")
_WORD_BREAK = re.compile(r"[ _]")
_NOT_IN_A_NAME = re.compile(r"[^a-z]")
_CODE_COLUMNS = frozenset(
    {"code", "codes", "redeemcode", "redemptioncode", "vouchercode", "voucher", "giftcode", "giftcardcode"}
    | {"couponcode", "coupon", "activationcode", "serial", "serialnumber", "cardnumber", "licensekey", "key"}
)
_PIN_COLUMNS = frozenset({"pin", "pincode", "pinnumber", "securitycode"})
_COLUMN_ENDINGS = ("code", "codes", "number", "voucher", "pin")

_UNKNOWN_HEADER = "it looks like a header: remove it, or name the columns code,pin"


class InvalidCodeFileError(Exception):
    """The file is invalid: number of the line and reason, for each faulty line. No reason quotes a code."""

    def __init__(self, faults: Sequence[tuple[int, str]]) -> None:
        super().__init__(f"{len(faults)} faulty lines")
        self.faults = faults


class _Line(NamedTuple):
    number: int
    fields: Sequence[str]
    fault: str = ""


def parse_code_file(text: str) -> Sequence[Code]:
    """Parse a file of codes; raises `InvalidCodeFileError` if any line is invalid.

    Blank lines, and a first line that names the columns, are skipped.
    """
    lines = [
        _split(number, line)
        for number, line in enumerate(_LINE_BREAK.split(text), start=1)
        if line.strip() and not (number == 1 and line.strip() == "sep=,")
    ]
    has_header = bool(lines) and _is_header(lines[0])
    if not has_header and _looks_like_header(lines):
        raise InvalidCodeFileError([(lines[0].number, _UNKNOWN_HEADER)])
    lines = lines[has_header:]
    parsed = refuse_other_pins([(f"line {line.number}", _parse(line)) for line in lines])
    faults = [(line.number, item.detail) for line, item in zip(lines, parsed, strict=True) if isinstance(item, Fault)]
    if faults or not parsed:
        raise InvalidCodeFileError(faults or [(1, "the file has no code")])
    return [item for item in parsed if isinstance(item, Code)]


def _split(number: int, line: str) -> _Line:
    fields: list[str] = []
    position, end = 0, ","
    while end:
        match = _FIELD.match(line, position)
        if match is None:
            return _Line(
                number, (), "quotes must enclose a whole field and be doubled within; the delimiter is a comma"
            )
        quoted, plain, end = match.groups()
        if quoted is None and _OTHER_DELIMITER.search(plain.strip()):
            return _Line(number, (), "the delimiter must be a comma")
        fields.append(plain.strip() if quoted is None else quoted.replace('""', '"').strip())
        position = match.end()
    if len(fields) > 2:
        return _Line(number, (), f"it has {len(fields)} columns instead of code and PIN")
    return _Line(number, fields)


def _parse(line: _Line) -> Code | Fault:
    fault = line.fault
    if _is_header(line):
        fault = "a header is only expected in the first line"
    if fault:
        return Fault("", "INVALID_VALUE", fault)
    return parse_code(dict(zip(("redeemCode", "pinCode"), line.fields, strict=False)), "")


def _is_header(line: _Line) -> bool:
    names = _column_names(line)
    return bool(names) and names[0] in _CODE_COLUMNS and _PIN_COLUMNS.issuperset(names[1:])


def _looks_like_header(lines: Sequence[_Line]) -> bool:
    """Whether the first line ends like a column's name, or is words, or of another length, above codes with digits."""
    names = _column_names(lines[0]) if lines else ()
    if not names:
        return False
    first, *others = (line.fields[0] for line in lines if line.fields)
    if "-" not in first and any(name.endswith(_COLUMN_ENDINGS) for name in names):
        return True
    is_odd = _WORD_BREAK.search(first) or all(len(other) != len(first) for other in others)
    return bool(others) and all(map(_DIGIT.search, others)) and bool(is_odd)


def _column_names(line: _Line) -> Sequence[str]:
    """Return the letters of the fields, none if there is a digit among them: names of columns have none."""
    if any(map(_DIGIT.search, line.fields)):
        return ()
    return [_NOT_IN_A_NAME.sub("", field.lower()) for field in line.fields]
