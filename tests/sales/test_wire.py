"""Keys and derived ids."""

from uuid import UUID, uuid5

import pytest

from services.sales.wire import build_key, derive_record_id, key_encoder
from tests.sales.samples import HEADER


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ((608, "pos", "1"), b"608|pos|1"),
        ((608, None, "1"), b"608||1"),
        ((608, "a|b", "50%"), b"608|a%7Cb|50%25"),
        ((608, "a%7Cb", "é"), "608|a%257Cb|é".encode()),
    ],
)
def test_parts_of_a_key_stay_apart(parts: tuple[str | int | None, ...], key: bytes) -> None:
    assert build_key(*parts) == key


def test_the_keys_of_a_jobs_records_are_built_alike() -> None:
    encode = key_encoder(608)
    for channel in ("pos", None, "", "a|b", "pos", "é"):
        for order_id in ("1", "50%", "a|b", "é"):
            assert encode(channel, order_id) == build_key(608, channel, order_id)


def test_a_records_id_derives_from_its_job_and_index() -> None:
    assert derive_record_id(HEADER.job_id, index=7) == str(uuid5(UUID(HEADER.job_id), "7"))
