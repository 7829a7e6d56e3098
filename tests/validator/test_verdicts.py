"""The internal port: verdicts on records that are not submitted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from io import BytesIO

import aiohttp
import pytest

from services.chassis.http.server import HttpServer, build_application
from services.sales.dry_run import PATH, VerdictRequest, VerdictResponse, decode_response, encode_message
from services.sales.records import OrderLine, ReturnLine
from services.validator.adapters.record_reader import SubmittedRecordReader
from services.validator.http.verdicts import MAX_REQUEST_BYTES, VerdictApi
from services.validator.metrics import FAULTS, RECORDS
from tests.validator.fakes import FakeSchemaSource, Harness, a_harness
from tests.validator.records import NOW_US, SCHEMAS, a_job, a_return, an_order, as_bytes


@dataclass
class Port:
    """The port of a validator over fakes."""

    url: str
    session: aiohttp.ClientSession
    harness: Harness
    is_ready: bool = True

    async def ask(self, *values: bytes, kind: str = "orders") -> VerdictResponse:
        status, body = await self.post(encode_message(VerdictRequest(kind, values)))
        assert status == 200, body
        return decode_response(body)

    async def post(self, body: bytes | BytesIO) -> tuple[int, bytes]:
        async with self.session.post(self.url + PATH, data=body) as response:
            return response.status, await response.read()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with aiohttp.ClientSession() as session:
        made = Port("", session, a_harness([]))
        api = VerdictApi(made.harness.deps, is_ready=lambda: made.is_ready, catalogue_as_of_ms=lambda: NOW_US // 1000)
        server = HttpServer(build_application(api.routes(), max_body_bytes=MAX_REQUEST_BYTES), host="127.0.0.1", port=0)
        await server.start()
        made.url = f"http://{server.address}"
        yield made
        await server.stop()


def _unknown_product() -> bytes:
    return as_bytes(an_order(line_items=[OrderLine("zz", None, 1, Decimal("9.99"))]))


async def test_each_record_gets_its_faults_in_order(port: Port) -> None:
    response = await port.ask(as_bytes(an_order(job=a_job())), _unknown_product(), as_bytes(an_order(currency="usd")))
    assert [[fault.code for fault in faults] for faults in response.faults] == [
        [],
        ["PRODUCT_NOT_FOUND"],
        ["INVALID_CURRENCY"],
    ]
    assert response.faults[1][0].retryable
    assert response.catalogue_as_of_ms == NOW_US // 1000
    returns = await port.ask(
        as_bytes(a_return(line_items=[ReturnLine("4556", None, 1, Decimal(1), None)])), kind="returns"
    )
    assert returns.faults == [[]]


async def test_nothing_is_published_counted_or_logged(port: Port, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be decoded neither becomes a dead letter nor counts towards halting a partition."""

    def counts() -> list[float]:
        metrics = [RECORDS.labels("orders", outcome) for outcome in ("accepted", "rejected", "unprocessable")]
        return [metric._value.get() for metric in [*metrics, FAULTS.labels("PRODUCT_NOT_FOUND")]]

    before = counts()
    for _ in range(5):
        response = await port.ask(as_bytes(an_order()), _unknown_product(), b"poison")
        assert [fault.code for fault in response.faults[2]] == ["UNPROCESSABLE"]
    assert port.harness.journal == []
    assert port.harness.dead_letter_limit.halted == set()
    assert counts() == before
    assert "".join(capsys.readouterr()) == ""


async def test_without_the_catalogue_nothing_is_judged(port: Port) -> None:
    """Breaks if the catalogue is not waited for: every product would be unknown."""
    port.is_ready = False
    status, _ = await port.post(encode_message(VerdictRequest("orders", [as_bytes(an_order())])))
    assert status == 503


@pytest.mark.parametrize("body", [b"", b"\xc1", encode_message(VerdictRequest("refunds", []))])
async def test_what_is_no_request_is_refused(port: Port, body: bytes) -> None:
    assert (await port.post(body))[0] == 400


async def test_a_larger_request_than_any_import_is_refused(port: Port) -> None:
    assert (await port.post(BytesIO(b"\0" * (MAX_REQUEST_BYTES + 1))))[0] == 413


async def test_a_schema_that_is_not_known_yet_is_waited_for(port: Port) -> None:
    """While the registry does not answer, a record of a newer ingest is not called unprocessable."""
    source = FakeSchemaSource(is_unavailable=True)
    deps = replace(port.harness.deps, reader=SubmittedRecordReader(SCHEMAS, source))
    api = VerdictApi(deps, is_ready=lambda: True, catalogue_as_of_ms=lambda: None)
    server = HttpServer(build_application(api.routes()), host="127.0.0.1", port=0)
    await server.start()
    try:
        port.url = f"http://{server.address}"
        status, _ = await port.post(encode_message(VerdictRequest("orders", [b"\0\0\1\0\0rest"])))
        assert status == 503
    finally:
        await server.stop()
