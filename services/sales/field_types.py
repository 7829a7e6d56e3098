"""Types of field values: what each accepts in JSON, its rule, and its part in the fast paths.

`read` and `validate` decide. The fast paths are generated: `from_typed` and `fast_check` are Python expressions over a
value's name, evaluated with the names of this module. They may accept less than `read` and `validate`, never more.
"""

from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, tzinfo
from decimal import Decimal, DecimalException
from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta

from services.avro import schema as avro
from services.sales.amounts import amount_from_integer, is_valid_amount  # noqa: F401 - for generated code
from services.sales.payments import PAYMENT_KINDS
from services.sales.records import MODES, SalesRecord
from services.values import instants
from services.values.currencies import read_currency, validate_currency
from services.values.decimals import HugeNumber, read_amount, strip_trailing_zeros, validate_amount
from services.values.identifiers import MAX_ID_LENGTH, NOT_A_STRING, read_identifier, validate_text
from services.values.invalid import Invalid, InvalidKind, describe_type
from services.values.pii import MAX_CARD_DIGITS, REMOVED, is_personal_data

# Seconds and milliseconds since 1970, taken for microseconds, are before these.
YEAR_1980_US, YEAR_2020_US = 315_532_800_000_000, 1_577_836_800_000_000

_NOT_SEGMENTS = Invalid(InvalidKind.TYPE, "must be an array of strings or numbers, or one comma-separated string")
OTHER_UNIT = "it looks like another unit (seconds, milliseconds) than microseconds"
_FUTURE = Invalid(InvalidKind.FUTURE, "must not be more than 5 minutes ahead")
_SCALARS = (str, int, Decimal, HugeNumber)
_PERSONAL = Invalid(InvalidKind.PERSONAL, "must be a hash, not personal data")


class RuleContext(NamedTuple):
    """What values are read and checked with: the time, the ISO 4217 codes, the zone of times without an offset.

    A sale before `min_date_time_us` is invalid.
    """

    now_us: int
    currencies: AbstractSet[str]
    zone: tzinfo = UTC
    min_date_time_us: int = instants.MIN_INSTANT_US


@dataclass(frozen=True)
class FieldType:
    """A type without a rule: a value that ingest sets."""

    # What msgspec accepts for it in JSON, and the Avro type.
    json_type: ClassVar[Any] = str
    avro_type: ClassVar[avro.AvroType] = avro.Primitive.STRING

    def read(self, value: object, context: RuleContext, /) -> Any:
        """Return the canonical value of a JSON value, or `Invalid`."""
        raise NotImplementedError  # abstract: fields that a client sends have a type that reads

    def validate(self, value: Any, _: RuleContext, /) -> Invalid | None:
        """Return what is wrong with a canonical value, or None."""

    def to_json(self, value: Any, _: SalesRecord, /) -> Any:
        """Return the value as it appears in the JSON of a record; None leaves the field out."""
        return value

    def from_typed(self, name: str) -> str:
        """Return an expression: the canonical value of what msgspec read. It raises `ValueError` if it cannot tell."""
        return name

    def fast_check(self, _: str) -> str | None:
        """Return an expression that is true only for valid values, control characters aside; None if all are valid."""

    def typed_check(self, name: str) -> str | None:
        """Return an expression as `fast_check` does, for the values of `from_typed`."""
        return self.fast_check(name)

    def text(self, _: str) -> str | None:
        """Return an expression: the text in which to look for control characters, or None."""


@dataclass(frozen=True)
class SiteId(FieldType):
    """The number of a site."""

    avro_type = avro.Primitive.LONG


@dataclass(frozen=True)
class Job(FieldType):
    """The record's position in its import job; the validator checks it."""


@dataclass(frozen=True)
class PaymentKind(FieldType):
    """The payment method, normalised."""

    avro_type = avro.Enum("PaymentKind", PAYMENT_KINDS)


@dataclass(frozen=True)
class Text(FieldType):
    """A string of bounded length without control characters; not empty, because an empty one counts as absent."""

    max_length: int
    min_length: ClassVar[int] = 1

    def read(self, value: object, _: RuleContext, /) -> str | Invalid:
        return (self.validate(value) or value) if isinstance(value, str) else NOT_A_STRING.but_found(value)

    def validate(self, text: str, _: RuleContext | None = None, /) -> Invalid | None:
        return validate_text(text, max_length=self.max_length, min_length=self.min_length)

    def fast_check(self, name: str) -> str | None:
        return f"{self.min_length} <= len({name}) <= {self.max_length}"

    def text(self, name: str) -> str | None:
        return name


@dataclass(frozen=True)
class Identifier(Text):
    """A text; in JSON also an integer."""

    json_type = str | int
    max_length: int = MAX_ID_LENGTH

    def read(self, value: object, _: RuleContext, /) -> str | Invalid:
        return read_identifier(value, max_length=self.max_length)

    def from_typed(self, name: str) -> str:
        return f"({name} if type({name}) is str else str({name}))"


@dataclass(frozen=True)
class Hash(Text):
    """A hash of personal data: not an e-mail address, not a card number."""

    def validate(self, text: str, _: RuleContext | None = None, /) -> Invalid | None:
        return _PERSONAL if is_personal_data(text) else super().validate(text)

    def to_json(self, text: str, _: SalesRecord, /) -> str:
        return REMOVED if self.validate(text) else text

    def fast_check(self, name: str) -> str | None:
        return f"0 < len({name}) <= {self.max_length} and (is_plain_hash({name}) or not is_personal_data({name}))"


def is_plain_hash(text: str) -> bool:
    """Return whether a text is surely no personal data: longer than a card number, which separators would shorten."""
    has_separator = "@" in text or " " in text or "-" in text or "\t" in text
    return not has_separator and len(text) > MAX_CARD_DIGITS and text.isascii()


@dataclass(frozen=True)
class Segments(FieldType):
    """Segments of shoppers; in JSON an array of strings or numbers, or one comma-separated string.

    Empty parts of that string do not count.
    """

    json_type = list[str]
    avro_type = avro.Array(avro.Primitive.STRING)
    max_items: int
    max_length: int
    min_length: ClassVar[int] = 0

    def read(self, value: object, context: RuleContext, /) -> list[str] | Invalid:
        if isinstance(value, str):
            texts = [part.strip() for part in value.split(",") if part.strip()]
        elif not isinstance(value, list):
            return _NOT_SEGMENTS.but_found(value)
        elif invalid := self._validate_count(value):
            return invalid
        elif others := [item for item in value if not isinstance(item, _SCALARS) or isinstance(item, bool)]:
            return _NOT_SEGMENTS._replace(phrase=f"{_NOT_SEGMENTS.phrase}; it holds {describe_type(others[0])}")
        else:
            texts = [self._to_text(item) for item in value]
        return self.validate(texts, context) or texts

    def validate(self, texts: list[str], _: RuleContext, /) -> Invalid | None:
        if invalid := self._validate_count(texts):
            return invalid
        for text in texts:
            if invalid := validate_text(text, max_length=self.max_length):
                return Invalid(invalid.kind, f"has an element that {invalid.phrase}")
        return None

    def to_json(self, texts: list[str], _: SalesRecord, /) -> list[str] | None:
        return texts or None

    def from_typed(self, name: str) -> str:
        return f"({name} or [])"

    def fast_check(self, name: str) -> str | None:
        # If they are short enough together, each is.
        return f"len({name}) <= {self.max_items} and len({name}_text := ''.join({name})) <= {self.max_length}"

    def text(self, name: str) -> str | None:
        return f"{name}_text"

    def _validate_count(self, items: list[Any]) -> Invalid | None:
        if len(items) <= self.max_items:
            return None
        return Invalid(InvalidKind.VALUE, f"must hold at most {self.max_items} segments, not {len(items)}")

    def _to_text(self, item: str | int | Decimal | HugeNumber) -> str:
        if isinstance(item, int):
            text = read_identifier(item, max_length=self.max_length)
            return "9" * (self.max_length + 1) if isinstance(text, Invalid) else text
        return item.literal if isinstance(item, HugeNumber) else str(item)


@dataclass(frozen=True)
class Mode(FieldType):
    """How the sale was made; in JSON in any case."""

    avro_type = avro.Enum("Mode", MODES)

    def read(self, value: object, context: RuleContext, /) -> str | Invalid:
        if not isinstance(value, str):
            return NOT_A_STRING.but_found(value)
        mode = value.lower() if value.isascii() else value
        return self.validate(mode, context) or mode

    def validate(self, mode: str, _: RuleContext, /) -> Invalid | None:
        return None if mode in MODES else Invalid(InvalidKind.VALUE, f"must be {' or '.join(MODES)}")

    def fast_check(self, name: str) -> str | None:
        return f"{name} in MODES"


@dataclass(frozen=True)
class Currency(FieldType):
    """An ISO 4217 code in upper case; in JSON in any case."""

    def read(self, value: object, context: RuleContext, /) -> str | Invalid:
        return read_currency(value, context.currencies)

    def validate(self, code: str, context: RuleContext, /) -> Invalid | None:
        return validate_currency(code, context.currencies)

    def fast_check(self, name: str) -> str | None:
        return f"{name} in currencies"


@dataclass(frozen=True)
class _Integer(FieldType):
    """An integer within bounds; `invalid` is the answer to others."""

    json_type = int
    min_value: ClassVar[int]
    max_value: ClassVar[int]
    invalid: ClassVar[Invalid]

    def validate(self, number: int, _: RuleContext, /) -> Invalid | None:
        return None if self.min_value <= number <= self.max_value else self.invalid

    def fast_check(self, name: str) -> str | None:
        return f"{self.min_value} <= {name} <= {self.max_value}"


@dataclass(frozen=True)
class Integer64(_Integer):
    """A signed 64-bit integer; in JSON without fraction or exponent."""

    avro_type = avro.Primitive.LONG
    min_value, max_value = -(2**63), 2**63 - 1
    invalid = Invalid(InvalidKind.VALUE, "must be a signed 64-bit integer")

    def read(self, value: object, context: RuleContext, /) -> int | Invalid:
        if isinstance(value, HugeNumber) and value.is_integer:
            return self.invalid
        if not isinstance(value, int) or isinstance(value, bool):
            return Invalid(InvalidKind.TYPE, "must be an integer").but_found(value)
        return self.validate(value, context) or value


@dataclass(frozen=True)
class Quantity(_Integer):
    """A positive 32-bit integer; in JSON any number of such a value: 2.0 is 2."""

    avro_type = avro.Primitive.INT
    min_value, max_value = 1, 2**31 - 1
    json_type = Annotated[int, Meta(ge=min_value, le=max_value)]
    invalid = Invalid(InvalidKind.QUANTITY, f"must be an integer, a number from {min_value} to {max_value}")

    def read(self, value: object, context: RuleContext, /) -> int | Invalid:
        if isinstance(value, Decimal):
            # Compared before it is converted: the exponent is the client's.
            is_small = self.min_value <= value <= self.max_value
            value = int(value) if is_small and value == value.to_integral_value() else 0
        if isinstance(value, HugeNumber):
            return self.invalid
        if not isinstance(value, int) or isinstance(value, bool):
            return self.invalid.but_found(value)
        return self.validate(value, context) or value


@dataclass(frozen=True)
class UtcOffset(_Integer):
    """An offset from UTC in minutes."""

    avro_type = avro.Primitive.INT
    min_value, max_value = -instants.MAX_OFFSET_MINUTES, instants.MAX_OFFSET_MINUTES
    invalid = Invalid(InvalidKind.DATE, "must be less than a day")


@dataclass(frozen=True)
class Amount(FieldType):
    """An exact amount of money, not negative; in JSON a number or a numeric string."""

    # A typed Decimal would accept "1_0" and "NaN": the decoder's hook for numbers with a fraction is `read_literal`.
    json_type = Any
    avro_type = avro.Primitive.DECIMAL

    def read(self, value: object, _: RuleContext, /) -> Decimal | Invalid:
        return read_amount(value)

    def validate(self, amount: Decimal, _: RuleContext, /) -> Invalid | None:
        return validate_amount(amount)

    def to_json(self, amount: Decimal, _: SalesRecord, /) -> Decimal:
        with suppress(DecimalException):
            return strip_trailing_zeros(amount).copy_sign(amount)
        return amount

    def from_typed(self, name: str) -> str:
        return f"({name} if type({name}) is Decimal else amount_from_integer({name}))"

    def fast_check(self, name: str) -> str | None:
        return f"is_valid_amount({name})"

    def typed_check(self, _: str) -> None:
        """Return None: all that is read is valid."""


@dataclass(frozen=True)
class _Timestamp(FieldType):
    """An instant in microseconds."""

    avro_type = avro.Primitive.TIMESTAMP_MICROS
    fast_min_us: ClassVar[int]

    def fast_check(self, name: str) -> str | None:
        return f"{self.fast_min_us} <= {name} <= latest_us"


@dataclass(frozen=True)
class LocalDateTime(_Timestamp):
    """When the sale took place. The record keeps the offset from UTC in which it was stated as `UtcOffset`."""

    fast_min_us = YEAR_1980_US

    def read(self, value: object, context: RuleContext, /) -> instants.Instant | Invalid:
        # Not validated here, unlike other types: `json_reader` reports an instant that is out of bounds, and keeps it.
        return instants.parse_instant(value, zone=context.zone)

    def validate(self, us: int, context: RuleContext, /) -> Invalid | None:
        if us < instants.MIN_INSTANT_US:
            return Invalid(InvalidKind.DATE, "is before the year 1")
        if us < context.min_date_time_us:
            return Invalid(InvalidKind.DATE, f"is before 1980: {OTHER_UNIT}")
        return _FUTURE if us > instants.latest_valid_us(context.now_us) else None

    def to_json(self, us: int, record: SalesRecord, /) -> str | int:
        # Kafka can deliver any 64-bit integer; one that no calendar shows stays a number.
        is_date = instants.MIN_INSTANT_US <= us <= instants.MAX_INSTANT_US
        return instants.format_local(us, offset_minutes=record.utc_offset_minutes) if is_date else us


@dataclass(frozen=True)
class AcceptedAt(_Timestamp):
    """When ingest accepted the record. Readers keep the greatest, so one far ahead would never be replaced."""

    fast_min_us = YEAR_2020_US

    def validate(self, us: int, context: RuleContext, /) -> Invalid | None:
        if us < YEAR_2020_US:
            return Invalid(InvalidKind.DATE, f"is before 2020: {OTHER_UNIT}")
        if us > instants.MAX_INSTANT_US:
            return Invalid(InvalidKind.DATE, "must be in the years 2020 to 9999")
        return _FUTURE if us > instants.latest_valid_us(context.now_us) else None

    def to_json(self, us: int, _: SalesRecord, /) -> str | int:
        return instants.format_utc(us, digits=6) if instants.MIN_INSTANT_US <= us <= instants.MAX_INSTANT_US else us
