"""Which column is which field: chosen, and remembered for the site's next files."""

import pytest

from services.portal.domain.columns import NO_COLUMN, ChosenColumn, build_mapping, recall, remember

DETECTED = {"id": "id", "Channel": "channel", "Price": None}


def chosen(**fields: str) -> list[ChosenColumn]:
    return [ChosenColumn(name, fields.get(name, detected or ""), detected) for name, detected in DETECTED.items()]


@pytest.mark.parametrize(
    ("fields", "mapping"),
    [
        ({}, {"id": "id", "channel": "Channel"}),
        ({"Price": "unitPrice"}, {"id": "id", "channel": "Channel", "unitPrice": "Price"}),
        ({"Channel": ""}, {"id": "id", "channel": NO_COLUMN}),
        ({"Channel": "storeId"}, {"id": "id", "storeId": "Channel", "channel": NO_COLUMN}),
        ({"Channel": "storeId", "Price": "channel"}, {"id": "id", "storeId": "Channel", "channel": "Price"}),
    ],
)
def test_the_mapping_says_what_was_chosen(fields: dict[str, str], mapping: dict[str, str]) -> None:
    assert build_mapping(chosen(**fields)) == (mapping, [])


def test_a_field_has_one_column() -> None:
    assert build_mapping(chosen(Price="id"))[1] == ["id"]


def test_the_next_file_is_read_like_the_last_one() -> None:
    """Also if its columns stand in another order, are written otherwise, or are more."""
    remembered = remember(chosen(Channel="", Price="unitPrice"))
    headings = ["PRICE", "channel", "Id", "Till"]
    detected = {"channel": "channel", "Id": "id"}
    assert recall(headings, remembered, detected) == {"unitPrice": "PRICE", "channel": NO_COLUMN}


def test_what_was_said_last_is_remembered() -> None:
    remembered = remember(chosen(Channel="")) | remember(chosen())
    assert recall(["id", "Channel"], remembered, {"id": "id", "Channel": "channel"}) == {}


def test_of_two_columns_that_would_be_one_field_the_first_is_it() -> None:
    remembered = remember(chosen(Price="unitPrice"))
    assert recall(["Unit price", "Price"], remembered, {"Unit price": "unitPrice"}) == {}
