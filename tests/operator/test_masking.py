"""What names a person is masked, wherever it is in a record."""

from typing import Any

import pytest

from services.operator.domain.masking import mask
from services.values.pii import REMOVED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": "O1", "userId": "u1"}, {"id": "O1", "userId": REMOVED}),
        ({"emailHash": None}, {"emailHash": None}),
        ({"lines": [{"ccHash": "abc", "quantity": 2}]}, {"lines": [{"ccHash": REMOVED, "quantity": 2}]}),
        ({"note": "ann@example.com"}, {"note": REMOVED}),
        ({"note": "4111 1111 1111 1111"}, {"note": REMOVED}),
        ({"rows": '[["O1","u1"]]'}, {"rows": REMOVED}),
        ({"record": '{"userId":"u1","id":"O1"}'}, {"record": '{"userId":"[removed]","id":"O1"}'}),
        ({"record": '{"broken": "ann@example.com"'}, {"record": REMOVED}),
        ({"record": '[{"userId":"u1"}]'}, {"record": '[{"userId":"[removed]"}]'}),
        (["Order", {"userId": "u1"}], ["Order", {"userId": REMOVED}]),
        ({"count": 7, "is": True}, {"count": 7, "is": True}),
    ],
)
def test_personal_fields_are_masked(value: Any, expected: Any) -> None:
    assert mask(value) == expected
