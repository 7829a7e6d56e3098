"""The media type of a response."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from services.chassis.http.negotiation import negotiate

JSON, LINES, PDF = "application/json", "application/x-ndjson", "application/pdf"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ([], JSON),
        ([""], JSON),
        ([LINES], LINES),
        (["Application/X-NDJSON"], LINES),
        (["text/html", LINES], LINES),
        (["application/x-ndjson;q=0.1, application/json"], JSON),
        (["application/json;q=0.1, application/x-ndjson"], LINES),
        (["application/x-ndjson; q=0.1", "application/json; q=0.2"], JSON),
        (["application/x-ndjson;q=0.1, application/*;q=0.2"], JSON),
        (["application/x-ndjson, */*"], LINES),
        (["*/*, application/pdf"], PDF),
        (["application/pdf, application/json"], PDF),
        (["application/json, application/pdf"], JSON),
        (["application/*;q=0.5, */*;q=0.1, text/plain"], JSON),
        (["application/json;q=0, application/*"], LINES),
        (["application/json;q=0, application/x-ndjson;q=0.000, */*"], PDF),
        (["application/pdf;q=high, application/x-ndjson;q=0.1"], LINES),
        (["application/pdf;q=inf, application/json;q=0.1"], JSON),
        (["application/pdf;q=nan, application/json;q=0.1"], JSON),
        (["application/pdf;version=2;q=0.5, application/json;charset=utf-8;Q=0.6"], JSON),
        (["image/png"], None),
        (["*/*;q=0"], None),
        ([";;,,"], None),
    ],
    ids=str,
)
def test_the_higher_quality_wins_then_the_type_that_is_named(accept: list[str], preferred: str | None) -> None:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(("Accept", value) for value in accept))
    assert negotiate(request, (JSON, LINES, PDF)) == preferred
