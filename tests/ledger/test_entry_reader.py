"""Entries are read in batches that fit into little memory, however large the entries are."""

from services.ledger.adapters.entries import FIRST_BATCH, LINES_PER_BATCH, MAX_BATCH
from services.ledger.domain.listing import EntryQuery
from services.ledger.domain.report import Filter
from tests.ledger.api_fixtures import ApiClient, api
from tests.ledger.records import DAY_US, NOON, an_order

__all__ = ["api"]


async def batch_sizes(api: ApiClient, *, entries: int, lines: int) -> list[int]:
    """Record entries; return the sizes of the batches of an export, which has each of them once."""
    for start in range(0, entries, 200):
        orders = [
            an_order(f"{n:05}", site=api.site, when=NOON + n * DAY_US, lines=[("p1", 1, "1")] * lines)
            for n in range(start, min(start + 200, entries))
        ]
        await api.harness.record(*orders)
    batches = [batch async for batch in api.harness.entries.iterate_oldest(EntryQuery(site=api.site))]
    assert [each.key.order_id for batch in batches for each in batch] == [f"{n:05}" for n in range(entries)]
    return [len(batch) for batch in batches]


async def test_batches_of_small_entries_are_large(api: ApiClient) -> None:
    assert await batch_sizes(api, entries=600, lines=1) == [FIRST_BATCH, MAX_BATCH, 600 - FIRST_BATCH - MAX_BATCH]


async def test_batches_of_large_entries_are_small(api: ApiClient) -> None:
    """I8. Breaks: orders of five hundred lines, of which the batches of several exports took gigabytes."""
    first, *others = await batch_sizes(api, entries=40, lines=500)
    assert first == FIRST_BATCH
    assert max(others) * 500 <= LINES_PER_BATCH


async def test_batches_of_further_entries_are_as_small_as_what_is_read_for_them(api: ApiClient) -> None:
    """I8. Breaks: an entry without records of its own counted as one without lines, but all its group's are loaded."""
    lines = [("p1", 1, "1")] * 250
    for n in range(40):
        when = NOON + n * DAY_US
        orders = [an_order(f"{n:05}", site=api.site, channel=each, when=when, lines=lines) for each in ("a", "b")]
        await api.harness.record(*orders)
    for channel in ("a", "b"):
        query = EntryQuery(site=api.site, filter=Filter(channel=channel))
        batches = [batch async for batch in api.harness.entries.iterate_oldest(query)]
        listed = [(each.key.order_id, each.entry.channel) for batch in batches for each in batch]
        assert listed == [(f"{n:05}", channel) for n in range(40)]
        first, *others = map(len, batches)
        assert first == FIRST_BATCH
        assert max(others) * 500 <= LINES_PER_BATCH
