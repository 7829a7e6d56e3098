"""What a dead letter says of itself, whoever put it into its box."""

import pytest

from services.chassis.producer import Headers
from services.operator.letters import Letter


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        (
            (
                ("dlq.original-topic", b"orders.submitted.v1"),
                ("dlq.original-partition", b"3"),
                ("dlq.original-offset", b"12"),
            ),
            "orders.submitted.v1/3/12",
        ),
        ((("dlq.original-topic", None), ("dlq.original-partition", b"\xff")), "/\ufffd/"),
        ((), "//"),
    ],
    ids=["as it should be", "without content", "without headers"],
)
def test_it_tells_where_its_record_was_read_as_far_as_it_says(headers: Headers, origin: str) -> None:
    letter = Letter("orders.dlq.v1", 0, 0, 0, None, b"", headers)
    assert letter.origin == origin
