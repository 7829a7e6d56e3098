"""`validateOnly` against the import of the same body: ingest and the validator together, at the same catalogue."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chassis.avro.wire_format import LENGTH
from services.chassis.http.server import HttpServer, build_application
from services.ingest.adapters.validator_client import ValidatorClient
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.flows.accept import Deps, JobAccepted, accept
from services.ingest.flows.validate import Validated, validate
from services.ingest.http.responses import validated_response
from services.ingest.wire import Encoder
from services.jobs.codec import JobEventCodec
from services.jobs.events import UNDECIDED, Judged
from services.sales.batch import ImportTarget
from services.validator.flow import judge
from services.validator.http.verdicts import VerdictApi
from tests.ingest.fakes import FakePublisher, FakeRateLimiter, a_return, an_import_request, fake_deps, order
from tests.sales.samples import CURRENCIES, NOW_US
from tests.validator.fakes import Harness, a_harness
from tests.validator.records import SCHEMAS, a_submitted_record, job_headers

PRODUCTS = frozenset({"4556", "4557"})
_EVENTS = JobEventCodec(SCHEMAS["job_event"].definition)
_ENCODER = Encoder(SCHEMAS)

# Values that are valid, and values that break one rule each, at intake or afterwards.
_LINES = st.fixed_dictionaries(
    {
        "productId": st.sampled_from(["4556", 4557, "gone", "lost", "", "x" * 129]),
        "quantity": st.sampled_from([1, 2**31 - 1, 0, "3"]),
        "unitPrice": st.sampled_from([1, "9.99", 0.1234567, "-1"]),
    },
    optional={"skuId": st.sampled_from(["s", "", None, "a\u0000b"])},
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["1", 2, "3|%", "", None]),
    "returnId": st.sampled_from(["r1", "r2"]),
    "userId": st.sampled_from(["u1", 7, ...]),
    "dateTime": st.sampled_from(
        ["2024-05-01T10:00:00+09:00", "2024-05-01T10:00:00", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "noon"]
    ),
    "channel": st.sampled_from(["web", "", "x" * 129]),
    "mode": st.sampled_from(["online", "OFFLINE", "phone"]),
    "currency": st.sampled_from(["usd", "EUR", "XXQ"]),
    "couponValue": st.sampled_from(["1.5", 10**13, ""]),
    "emailHash": st.sampled_from(["hash", "a@b.example"]),
    "regionId": st.sampled_from([-1, 2**63]),
    "lineItems": st.lists(_LINES, max_size=4),
    "colour": st.just("red"),
}


def _record(changes: dict[str, Any], *, is_return: bool) -> dict[str, Any]:
    changed = {**(a_return() if is_return else order()), **changes}
    return {name: value for name, value in changed.items() if value is not ...}


_RECORDS = st.builds(
    lambda changes, is_return: _record(changes, is_return=is_return),
    st.fixed_dictionaries({}, optional=_FIELDS),
    st.booleans(),
)
BODIES = st.lists(_RECORDS, min_size=1, max_size=6)


class RecordOutcome(NamedTuple):
    """What a client learns about a record."""

    outcome: str
    faults: list[tuple[str, str, str, bool]]


class Installation:
    """Ingest and a validator over fakes; the port between them is real."""

    def __init__(self) -> None:
        self.validator: Harness = a_harness([], products=PRODUCTS)
        self.publisher = FakePublisher([])
        api = VerdictApi(self.validator.deps, is_ready=lambda: True, catalogue_as_of_ms=lambda: 1)
        self.server = HttpServer(build_application(api.routes()), host="127.0.0.1", port=0)

    async def start(self) -> None:
        await self.server.start()
        self.client = ValidatorClient(f"http://{self.server.address}", _ENCODER, timeout_s=5)

    async def stop(self) -> None:
        await self.client.stop()
        await self.server.stop()

    def deps(self) -> Deps:
        limiter = FakeRateLimiter([])
        return fake_deps(
            [],
            publisher=self.publisher,
            judge=self.client,
            rate_limiter=limiter,
            currencies=CURRENCIES,
            now_us=lambda: NOW_US,
        )

    async def dry_run(self, body: list[Any], target: ImportTarget) -> list[RecordOutcome]:
        validated = await validate(an_import_request(body, target=target), self.deps(), quota_key="608")
        assert isinstance(validated, Validated)
        content = json.loads(validated_response(validated, api_key="k", user_id=None).body)  # type: ignore[arg-type]
        return [
            RecordOutcome(
                record["outcome"],
                [(each["code"], each["field"], each["message"], each["retryable"]) for each in record["faults"]],
            )
            for record in content["records"]
        ]

    async def import_(self, body: list[Any], target: ImportTarget) -> list[RecordOutcome]:
        """Import the body, let the validator judge what was published, and read the job's events."""
        accepted = await accept(an_import_request(body, target=target), self.deps())
        assert isinstance(accepted, JobAccepted)
        outcomes = {
            record.index: RecordOutcome(
                "failed", [(each.code, each.field, each.message, each.retryable) for each in record.faults]
            )
            for record in accepted.job.batch.rejected
        }
        self.validator.producer.records.clear()
        await judge({"partition": self._submitted(accepted.job)}, self.validator.deps)
        for sent in self.validator.published("jobs.events.v1"):
            event = _EVENTS.decode(sent.value or b"", start=LENGTH)
            assert isinstance(event.fact, Judged)
            outcomes |= _outcomes(event.fact)
        assert sorted(outcomes) == list(range(accepted.job.batch.total))
        return [outcomes[index] for index in sorted(outcomes)]

    @staticmethod
    def _submitted(job: AcceptedJob) -> list[Any]:
        header = job.header
        return [
            a_submitted_record(
                value,
                kind=header.type,
                key=key,
                headers=job_headers(header.job_id, site=header.site, total=header.total, index=index),
            )
            for index, key, value in _ENCODER.encode_records(job)
        ]


def _outcomes(fact: Judged) -> dict[int, RecordOutcome]:
    run = fact.run
    failures = {failure.index: failure for failure in run.failures}
    return {
        run.first + position: RecordOutcome("succeeded", [])
        if outcome == "S"
        else RecordOutcome(
            "failed",
            [(each.code, each.field, each.message, each.retryable) for each in failures[run.first + position].faults],
        )
        for position, outcome in enumerate(run.outcomes)
        if outcome != UNDECIDED
    }


@pytest.fixture
async def installation() -> AsyncIterator[Installation]:
    made = Installation()
    await made.start()
    yield made
    await made.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, kind=st.sampled_from(["orders", "returns"]), mode=st.sampled_from([None, "online"]))
async def test_a_dry_run_and_the_import_say_the_same(
    installation: Installation, body: list[Any], kind: str, mode: str | None
) -> None:
    """Breaks if what is checked, or in which order, differs between the two."""
    target = ImportTarget(kind, None, mode)
    published = len(installation.publisher.jobs)
    dry = await installation.dry_run(body, target)
    assert len(installation.publisher.jobs) == published
    assert dry == await installation.import_(body, target)


async def test_the_largest_body_is_judged(installation: Installation) -> None:
    """A hundred records with five hundred lines each fit into one request to the validator."""
    lines = [{"productId": "4556", "quantity": 1, "unitPrice": "999999999999.123456"}] * 500
    body = [order(id=str(number), lineItems=lines) for number in range(100)]
    dry = await installation.dry_run(body, ImportTarget("orders"))
    assert dry == [RecordOutcome("succeeded", [])] * 100


async def test_the_cases_reach_every_outcome(installation: Installation) -> None:
    """The property above is not vacuous: good records, faults of the body and faults of the catalogue occur."""
    lines = [{"productId": product, "quantity": 1, "unitPrice": 1} for product in ("gone", "lost", "gone")]
    body = [order(id="1"), order(id="2", lineItems=lines), order(id="3", currency="XXQ")]
    dry = await installation.dry_run(body, ImportTarget("orders"))
    assert [[code for code, *_ in record.faults] for record in dry] == [
        [],
        ["PRODUCT_NOT_FOUND", "PRODUCT_NOT_FOUND"],
        ["INVALID_CURRENCY"],
    ]
    assert dry == await installation.import_(body, ImportTarget("orders"))
