"""Accepted jobs on the wire: the same bytes, however much is known of their texts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.flows.accept import accept
from services.ingest.wire import Encoder
from services.sales.batch import ImportTarget, SiteDefaults
from tests.ingest.fakes import FakePublisher, a_return, an_import_request, fake_deps, order

ENCODER = Encoder(Schemas.load(REPOSITORY / "schemas"))
TEXT_FIELDS = ("id", "channel", "userId", "paymentMethod", "storeId", "couponCode", "segmentIds", "segmentNames")
LINE_TEXTS = ("productId", "skuId")
LETTERS = ("~", "é", "ÿ", "Ā", "🛒")


async def accepted_job(body: Any, **changes: Any) -> AcceptedJob:
    publisher = FakePublisher([])
    await accept(an_import_request(body, **changes), fake_deps([], publisher=publisher))
    return publisher.jobs[0]


def assert_written_as_if_nothing_were_known(job: AcceptedJob) -> None:
    assert job.batch.accepted
    careful = structs.replace(job, is_ascii=False)
    assert list(ENCODER.encode_records(job)) == list(ENCODER.encode_records(careful))


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("name", [*TEXT_FIELDS, *LINE_TEXTS])
@pytest.mark.parametrize("escapes", [True, False])
async def test_a_text_of_any_field_is_written_as_it_is(name: str, letter: str, *, escapes: bool) -> None:
    line = {"productId": "4556", "quantity": 1, "unitPrice": 9.99}
    value = [f"x{letter}"] if name.startswith("segment") else f"x{letter}"
    record = order(lineItems=[{**line, name: value}]) if name in LINE_TEXTS else order(**{name: value})
    job = await accepted_job(json.dumps([record], ensure_ascii=escapes).encode())
    assert job.is_ascii == (letter == "~")
    assert_written_as_if_nothing_were_known(job)


@pytest.mark.parametrize(
    "changes",
    [
        {"site": SiteDefaults(608, channel="Café")},
        {"target": ImportTarget("orders", "useré")},
    ],
)
async def test_a_text_that_the_request_sets_is_written_as_it_is(changes: dict[str, Any]) -> None:
    job = await accepted_job(order(userId=..., channel=...) if "target" in changes else order(), **changes)
    assert not job.is_ascii
    assert_written_as_if_nothing_were_known(job)


async def test_returns_are_written_alike() -> None:
    job = await accepted_job([a_return(), a_return(returnId="r2")], kind="returns")
    assert job.is_ascii
    assert_written_as_if_nothing_were_known(job)


@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8),
    escapes=st.booleans(),
)
async def test_any_text_is_written_as_it_is(*, text: str, escapes: bool) -> None:
    job = await accepted_job(json.dumps(order(storeId=text, paymentMethod=text), ensure_ascii=escapes).encode())
    if job.batch.accepted:
        assert_written_as_if_nothing_were_known(job)
