"""Numbers and money in the reader's locale, times in the site's zone."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.numbers import format_compact_decimal, format_currency, format_decimal, format_percent
from markupsafe import Markup, escape

DEFAULT = "en"
MAX_HEADER_CHARACTERS = 200
_RIGHT_TO_LEFT_DIGITS = frozenset({"arab", "arabext"})


class Formats:
    """How one reader sees numbers and times."""

    def __init__(self, locale: Locale, zone: tzinfo, zone_name: str) -> None:
        self.locale, self._zone, self.zone_name = locale, zone, zone_name

    def number(self, value: int | Decimal) -> str:
        """Return a number with separators."""
        return format_decimal(value, locale=self.locale)

    def compact(self, value: float) -> str:
        """Return a large number shortened: 12K."""
        return format_compact_decimal(value, locale=self.locale, fraction_digits=1)

    def percent(self, part: float, whole: float) -> str:
        """Return a share; of a small one, not 0 %."""
        share = part / whole if whole else 0.0
        return format_percent(share, "#,##0.#%" if 0 < share < 0.1 else "#,##0%", locale=self.locale)

    def money(self, amount: Decimal, currency: str) -> str:
        """Return an amount; without a currency it is the site's own, which is not named."""
        if not currency:
            return format_decimal(amount, "#,##0.00", locale=self.locale)
        return format_currency(amount, currency, locale=self.locale)

    def exact_money(self, amount: Decimal, currency: str) -> str:
        """Return an amount with all of its digits."""
        return format_currency(amount, currency, locale=self.locale, decimal_quantization=False)

    def price(self, amount: str | float, currency: str) -> str:
        """Return an amount of a record."""
        return self.exact_money(Decimal(str(amount)), currency)

    def amounts(self, money: Mapping[str, Decimal]) -> str:
        """Return amounts of several currencies as one text."""
        return " + ".join(self.each_amount(money))

    def each_amount(self, money: Mapping[str, Decimal]) -> list[str]:
        """Return amounts of several currencies, the largest first; at the end what names no currency."""
        ordered = sorted(money.items(), key=lambda item: (not item[0], -item[1]))
        texts = [self.money(amount, currency) for currency, amount in ordered]
        if len(ordered) > 1 and not ordered[-1][0]:
            texts[-1] += " without a currency"
        return texts

    def duration(self, text: str) -> str:
        """Return HH:MM:SS in words."""
        hours, minutes, seconds = (int(part) for part in text.split(":"))
        parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{seconds} s" if seconds else ""]
        return " ".join(part for part in parts if part) or "< 1 s"

    def time(self, text: str | datetime, *, has_seconds: bool = False) -> Markup:
        """Return a time in the site's zone, with UTC beside it."""
        instant = text if isinstance(text, datetime) else datetime.fromisoformat(_truncate(text))
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        local, utc = instant.astimezone(self._zone), instant.astimezone(UTC)
        clock = "%H:%M:%S" if has_seconds else "%H:%M"
        shown = f"{local.day} {local:%b %Y}, {local:{clock}}"
        is_utc = local.utcoffset() == utc.utcoffset()
        same_day = local.date() == utc.date()
        beside = "UTC" if is_utc else f"{utc:{clock}} UTC" if same_day else f"{utc.day} {utc:%b}, {utc:{clock}} UTC"
        machine = utc.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Markup('<time datetime="{}">{} <span class="utc">{}</span></time>').format(
            machine, escape(shown), escape(beside)
        )

    def unix_time(self, seconds: int) -> Markup:
        """Return a Unix time as `time` does."""
        return self.time(datetime.fromtimestamp(seconds, UTC))


def _truncate(text: str) -> str:
    """Cut nanoseconds, which Python does not have."""
    head, dot, fraction = text.partition(".")
    return f"{head}.{fraction.removesuffix('Z')[:6]}+00:00" if dot else text.replace("Z", "+00:00")


@lru_cache(maxsize=512)
def parse_locale(header: str) -> Locale:
    """Return the first locale of `Accept-Language` that is known; digits are those of the language of the pages."""
    for tag in _ordered_tags(header[:MAX_HEADER_CHARACTERS]):
        try:
            locale = Locale.parse(tag, sep="-")
        except (ValueError, UnknownLocaleError):
            continue
        if locale is not None and locale.default_numbering_system not in _RIGHT_TO_LEFT_DIGITS:
            return locale
    return Locale.parse(DEFAULT)


def _ordered_tags(header: str) -> list[str]:
    weighted = []
    for position, part in enumerate(header.split(",")):
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if tag and quality > 0:
            weighted.append((-quality, position, tag.strip()))
    return [tag for _, _, tag in sorted(weighted)]


def is_currency(code: str) -> bool:
    """Whether a text is the code of a currency."""
    return code in get_global("all_currencies")
