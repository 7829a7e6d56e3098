"""Every route is closed to strangers; those that change something, to other sites' pages."""

import re

import pytest
from aiohttp import web

from services.portal.app import Components, build_routes
from tests.portal.apis import CUSTOMER
from tests.portal.site import OWN_REQUEST, Site

OPEN = {"/", "/portal", "/portal/sign-in", "/portal/static/{version}/{name}", "/portal/{path:.*}"}
# A browser does not come back to a stream after this status.
STREAMS = {"/portal/live": 204}


def routes(components: Components, method: str) -> list[str]:
    return [
        route.path for route in build_routes(components) if isinstance(route, web.RouteDef) and route.method == method
    ]


EXAMPLES = {
    "{format:csv|xlsx|ndjson|json}": "csv",
    "{format:csv|xlsx}": "csv",
    "{kind:orders|returns}": "orders",
    "{wish:pause|resume|cancel}": "pause",
    "{uploadId:[0-9a-f]{32}}": "0" * 32,
    "{runId:[0-9a-f]{32}}": "0" * 32,
    "{jobId}": "x",
    "{format:csv|ndjson|xlsx}": "csv",
    "{endpoint}": "x",
    "{event}": "x",
    "{replay}": "x",
    "{api}": "events",
    "{operation}": "readFeed",
    "{topic}": "x",
    "{partition}": "0",
    "{offset}": "0",
    "{site}": "608",
    "{client}": "x",
    "{invoiceId}": "x",
    "{number}": "x",
    "{orderId}": "x",
    "{receiptId}": "x",
    "{transactionId}": "x",
    "{userId}": "x",
    "{secret}": "x",
}


def path_of(route: str) -> str:
    """Return a path that the route takes."""
    path = route.replace("[0-9a-f]{32}", "0" * 32)
    for name, value in EXAMPLES.items():
        path = path.replace(name, value)
    # Of alternatives, the first.
    path = re.sub(r"\{\w+:([^|}]+)[^}]*\}", r"\1", path)
    assert "{" not in path, f"name an example for {route}"
    return path


async def test_pages_need_a_session(site: Site) -> None:
    closed = set(routes(site.components, "GET")) - OPEN
    assert len(closed) >= 5
    for route in sorted(closed):
        for cookie in (None, "nobody's", "x" * 5_000):
            if cookie is not None:
                site.set_cookie("portal-session", cookie)
            async with await site.get(path_of(route)) as response:
                assert response.status == STREAMS.get(route, 303), route
                assert response.headers.get("Location", "/portal/sign-in").startswith("/portal/sign-in")
    assert site.apis.requests == []


async def test_forms_need_a_token_of_the_session_and_our_origin(signed_in: Site) -> None:
    forms = routes(signed_in.components, "POST")
    assert "/portal/sign-out" in forms
    for route in forms:
        for headers in (OWN_REQUEST, {"Origin": "https://evil.example"}, {}):
            async with await signed_in.post(path_of(route), {"form_token": "x.y"}, headers=headers) as response:
                # A body that is no form has no token either.
                assert response.status in ((400, 403) if headers is OWN_REQUEST else (403,)), route
    await signed_in.text("/portal/jobs")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_do_nothing(signed_in: Site, method: str) -> None:
    async with signed_in.client.request(method, "/portal/jobs", headers=OWN_REQUEST) as response:
        assert response.status == 404
    assert CUSTOMER in await signed_in.text("/portal/jobs")
