"""I8: what the responses of one client take does not harm others."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import pytest

from services.chassis.http import page_limits
from services.ledger.adapters.entries import decode_groups
from services.ledger.domain.entries import Group, apply_record, empty_group, group_key
from services.ledger.domain.listing import ListedEntry
from services.ledger.http import exports, responses
from services.ledger.wire import documents
from services.ledger.wire.documents import group_documents, group_from
from services.sales.records import SalesRecord
from tests.chassis.eventually import until
from tests.ledger.api_fixtures import MANY_READERS, ApiClient, api
from tests.ledger.records import NOON, a_return, an_order
from tests.support.turns import turns
from tests.support.unsent_bytes import UnsentBytes

__all__ = ["api", "turns"]

KEY = b"k" * 32


@pytest.mark.parametrize("path", ["/users/u1/orders", "/orders/0", "/reports/sales"])
async def test_responses_count_until_they_are_read_and_a_client_has_a_bound(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """I8. Breaks: a client reads a few bytes of each now and then. An order may have 10,000 lines."""
    await api.harness.record(an_order("0", site=api.site, when=NOON))
    unsent = UnsentBytes.of(api.page_limits)
    body = await (await api.get(path)).read()
    assert unsent.highest == len(body) > 0
    monkeypatch.setattr("services.chassis.http.page_limits.MAX_UNSENT_BYTES_PER_CLIENT", 0)
    assert await api.problem(path) == (429, "RATE_LIMITED")


async def test_other_tasks_run_while_an_order_of_many_lines_is_rendered(turns: list[int]) -> None:
    """Breaks: a client asks for the longest orders, each of which held the event loop for ten milliseconds."""
    lines = [("p1", 1, "9.99")] * 2_500
    records: list[SalesRecord] = [
        an_order("0", lines=lines),
        *(a_return(str(number), order_id="0", lines=lines) for number in range(3)),
    ]
    group = empty_group(group_key(records[0]))
    for record in records:
        group = apply_record(group, record, KEY)
    (entry,) = group.entries
    rendered = await responses.render_entry(entry, group.key, lambda _site: KEY)
    assert turns[0] >= 8
    assert rendered == responses.entry_members(entry, group.key, lambda _site: KEY)


async def test_other_tasks_run_while_orders_of_many_lines_are_decoded(turns: list[int]) -> None:
    groups = [
        apply_record(empty_group(group_key(order)), order, KEY)
        for order in (an_order(str(number), lines=[("p1", 1, "9.99")] * 2_500) for number in range(10))
    ]
    stored = [
        document for group in groups for document in group_documents(group, group.entries, generation=0, changed=None)
    ]
    assert list((await decode_groups(stored)).values()) == groups
    assert turns[0] >= 10


async def test_other_tasks_run_while_one_order_of_many_lines_is_decoded(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: a client asks for the longest order; its lines were decoded, and its sums derived, between two turns."""
    await api.harness.record(an_order("0", site=api.site, when=NOON, lines=[("p1", 1, "9.99")] * 1_000))
    decoded_in = set[str]()

    def record(document: Mapping[str, Any]) -> Group:
        decoded_in.add(threading.current_thread().name)
        return group_from(document)

    monkeypatch.setattr(documents, "group_from", record)
    await api.read("/orders/0")
    await api.read("/users/u1/orders")
    assert decoded_in
    assert threading.main_thread().name not in decoded_in


def test_exports_are_rendered_in_portions_of_rows_and_of_lines() -> None:
    """Breaks: a hundred orders of hundreds of lines were rendered between two turns."""
    counts = [500, 1, 499, 1, *([1] * 150), 10_000]
    groups = [
        apply_record(empty_group(group_key(order)), order, KEY)
        for order in (an_order(str(n), lines=[("p1", 1, "9.99")] * lines) for n, lines in enumerate(counts))
    ]
    listed = [ListedEntry("", group.key, group.entries[0]) for group in groups]
    split = [[each.entry.line_count for each in portion] for portion in exports.portions(listed)]
    assert split == [[500], [1, 499], *[[1] * 50] * 3, [1, 10_000]]
    assert list(exports.portions([])) == []


async def test_exports_of_a_client_are_rendered_in_its_turns(api: ApiClient) -> None:
    """Breaks: a client exports all sales twice at once, and leaves the event loop to nobody else."""
    await api.harness.record(an_order("0", site=api.site, when=NOON))
    async with api.page_limits.turn("reader"):
        waiting = asyncio.create_task(api.read("/exports/orders"))
        turn = api.page_limits._turns["reader"]
        await until(lambda: bool(turn._waiters))
        assert (await api.get("/exports/orders", who=MANY_READERS[0])).status == 200
        assert not waiting.done()
    await waiting


async def test_orders_of_a_client_are_rendered_one_after_the_other(api: ApiClient) -> None:
    """Breaks: a client asks for an order of ten thousand lines as often as its limit allows."""
    await api.harness.record(an_order("0", site=api.site, when=NOON))
    async with api.page_limits.rendering("reader"):
        waiting = asyncio.create_task(api.get("/orders/0"))
        await until(lambda: api.page_limits._waiting["reader"] == 2)
        assert (await api.get("/orders/0", who=MANY_READERS[0])).status == 200
        assert not waiting.done()
    assert (await waiting).status == 200


async def test_only_large_responses_make_their_client_wait_for_the_next(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: on a busy machine a client that reads small pages within its limit would wait for itself."""
    paused = list[float]()

    def call_later(pause_s: float, resume: Callable[[], None]) -> None:
        paused.append(pause_s)
        resume()

    monkeypatch.setattr(api.page_limits, "_call_later", call_later)
    monkeypatch.setattr(page_limits, "ACTIVE_S", inf)  # as if other clients sent requests all the time
    await api.harness.record(
        an_order("0", site=api.site, when=NOON),
        an_order("1", site=api.site, when=NOON, user="u2", lines=[("p1", 1, "9.99")] * 2_000),
    )
    for path in ("/users/u1/orders", "/orders/0"):
        await api.read(path)
    assert not paused
    for path in ("/users/u2/orders", "/orders/1"):
        await api.read(path)
    assert len(paused) == 2
