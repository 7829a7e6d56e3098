"""The geometry of charts. Widths are in per cent, so that texts keep their size on screens of any width."""

import math
from collections.abc import Sequence

from msgspec import Struct

# Chart of columns, in pixels from its top.
PLOT_TOP, PLOT_HEIGHT = 16, 168
COLUMN_CHART_HEIGHT = PLOT_TOP + PLOT_HEIGHT + 24
MAX_TICKS, MAX_COLUMN_LABELS = 4, 5
# Chart of bars: a label and its bar below it.
BAR_STEP = 40
MAX_BARS = 12
MAX_LABEL_CHARACTERS = 24
_EDGE_PERCENT = 10.0


class Column(Struct, frozen=True, gc=False):
    """One column: its left edge and width in per cent, its top and height in pixels."""

    x: float
    width: float
    y: float
    height: float
    is_negative: bool
    title: str


class Label(Struct, frozen=True, gc=False):
    """A text below the columns; `anchor` is what of it is at `x`."""

    x: float
    anchor: str
    text: str


class Tick(Struct, frozen=True, gc=False):
    """A line across the columns."""

    y: float
    value: float


class ColumnChart(Struct, frozen=True, kw_only=True):
    """Columns from the left to the right, for points of time."""

    height: int
    columns: Sequence[Column]
    labels: Sequence[Label]
    ticks: Sequence[Tick]


class Bar(Struct, frozen=True, gc=False):
    """One bar: where it begins, how long it is, and where its text is."""

    label: str
    position: int
    x: float
    width: float
    top: int
    is_negative: bool


class BarChart(Struct, frozen=True, kw_only=True):
    """Bars from the top down; `position` of a bar is that of its value. Unless `is_all`, there are smaller ones."""

    height: int
    bars: Sequence[Bar]
    zero: float
    is_all: bool


def columns_chart(points: Sequence[tuple[str, float]]) -> ColumnChart:
    """Return a column for each label and value."""
    ticks = _ticks([value for _, value in points])
    low, high = ticks[0], ticks[-1]
    span = high - low

    def height_of(value: float) -> float:
        return PLOT_TOP + PLOT_HEIGHT * (high - value) / span

    step = 100 / max(len(points), 1)
    width = step * (0.7 if len(points) <= 62 else 0.9)
    columns = []
    for position, (label, value) in enumerate(points):
        top, bottom = height_of(max(value, 0.0)), height_of(min(value, 0.0))
        x = step * position + (step - width) / 2
        columns.append(
            Column(_round(x), _round(width), _round(top), _round(bottom - top), value < 0, label)  # in the table, too
        )
    return ColumnChart(
        height=COLUMN_CHART_HEIGHT,
        columns=columns,
        labels=_column_labels([label for label, _ in points], step),
        ticks=[Tick(_round(height_of(value)), value) for value in ticks],
    )


def bar_chart(points: Sequence[tuple[str, float]]) -> BarChart:
    """Return a bar for each label and value, at most `MAX_BARS` of them."""
    shown = points[:MAX_BARS]
    low = min([0.0, *(value for _, value in shown)])
    high = max([0.0, *(value for _, value in shown)])
    span = (high - low) or 1.0
    zero = -low / span * 100
    bars = [
        Bar(
            label=_shorten(label),
            position=position,
            x=_round((min(value, 0.0) - low) / span * 100),
            width=_round(abs(value) / span * 100),
            top=position * BAR_STEP,
            is_negative=value < 0,
        )
        for position, (label, value) in enumerate(shown)
    ]
    return BarChart(height=len(bars) * BAR_STEP, bars=bars, zero=_round(zero), is_all=len(shown) == len(points))


def _column_labels(labels: Sequence[str], step: float) -> list[Label]:
    every = math.ceil(len(labels) / MAX_COLUMN_LABELS)
    found = []
    for position in range(0, len(labels), max(every, 1)):
        x = step * (position + 0.5)
        anchor = "start" if x < _EDGE_PERCENT else "end" if x > 100 - _EDGE_PERCENT else "middle"
        found.append(Label({"start": 0.0, "end": 100.0}.get(anchor, _round(x)), anchor, labels[position]))
    return found


def _ticks(values: Sequence[float]) -> list[float]:
    """Return round values, at equal distances, that are around all values and nought."""
    low, high = min([0.0, *values]), max([0.0, *values])
    if low == high:
        high = 1.0
    rough = (high - low) / MAX_TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10, 20) if factor * magnitude >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[: MAX_LABEL_CHARACTERS - 1]}…"


def _round(value: float) -> float:
    return round(value, 3)
