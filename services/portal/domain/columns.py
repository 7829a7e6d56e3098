"""Which column of a file is which field: what its owner has chosen, and what is remembered of that."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tillstream.sources.columns import normalise

# Stands for the column of a field that is not to be sent, although a heading has its name.
NO_COLUMN = "column that is not sent"
NOT_SENT = ""


class ChosenColumn(Struct, frozen=True):
    """A column of the file and the field that was chosen for it; `detected` is the one that its heading names."""

    name: str
    field: str
    detected: str | None


def build_mapping(columns: Iterable[ChosenColumn]) -> tuple[dict[str, str], list[str]]:
    """Return the column of each field as the reader takes it, and the fields that were chosen more than once."""
    columns = list(columns)
    mapping: dict[str, str] = {}
    doubled = []
    for column in columns:
        if column.field == NOT_SENT:
            continue
        if column.field in mapping:
            doubled.append(column.field)
        mapping[column.field] = column.name
    for column in columns:
        if column.detected is not None and column.field != column.detected:
            mapping.setdefault(column.detected, NO_COLUMN)
    return mapping, doubled


def remember(columns: Iterable[ChosenColumn]) -> dict[str, str]:
    """Return the field of each heading, as it is kept."""
    return {key: column.field for column in columns if (key := normalise(column.name))}


def recall(headings: Sequence[str], remembered: Mapping[str, str], detected: Mapping[str, str]) -> dict[str, str]:
    """Return the mapping of a new file by what is remembered of the site's earlier ones.

    `detected` has the fields of its headings by their names. Of two headings that would be one field, the first is it.
    """
    chosen = [
        ChosenColumn(name, remembered.get(normalise(name), detected.get(name, NOT_SENT)), detected.get(name))
        for name in headings
    ]
    seen: set[str] = set()
    kept = []
    for column in chosen:
        if column.field != NOT_SENT and column.field in seen:
            column = ChosenColumn(column.name, NOT_SENT, column.detected)  # noqa: PLW2901 - replaced for the rest
        seen.add(column.field)
        kept.append(column)
    mapping, _ = build_mapping(kept)
    return {field: name for field, name in mapping.items() if detected.get(name) != field}
