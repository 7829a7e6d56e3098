from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.time_uuids import is_uuid, time_uuid, timestamp_us

PRINTED = "f29dd805-0156-11ee-ad68-7d780afc9f2c"


@given(st.integers(0, 2**52), st.integers(0, 2**14 - 1), st.integers(0, 2**48 - 1))
def test_it_tells_when_it_was_made(us: int, clock_seq: int, node: int) -> None:
    text = time_uuid(us, clock_seq=clock_seq, node=node)
    assert timestamp_us(text) == us
    parsed = UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant, parsed.clock_seq) == (1, RFC_4122, clock_seq)
    assert parsed.node >> 40 & 1


def test_the_printed_job_was_made_when_its_reply_says() -> None:
    us = timestamp_us(PRINTED)
    assert us is not None
    assert us // 1_000_000 == 1_685_718_344


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        PRINTED.upper(),
        f"{{{PRINTED}}}",
        PRINTED[:-1],
        "f29dd805-0156-41ee-ad68-7d780afc9f2c",
        "f29dd805-0156-11ee-7d68-7d780afc9f2c",
        PRINTED + "\n",
    ],
)
def test_anything_else_tells_nothing(text: str) -> None:
    assert timestamp_us(text) is None


def test_a_uuid_of_any_version_is_one_in_lower_case_only() -> None:
    assert is_uuid("f29dd805-0156-41ee-ad68-7d780afc9f2c")
    assert not is_uuid(PRINTED.upper())
