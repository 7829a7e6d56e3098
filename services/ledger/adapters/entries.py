"""Reads entries from MongoDB, one by one or in lists."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.ledger.adapters.collections import ENTRIES
from services.ledger.domain.entries import Entry, Group, GroupKey
from services.ledger.domain.listing import EntryPage, EntryQuery, ListedEntry
from services.ledger.ports import EntryReader
from services.ledger.wire import documents

# A batch of an export: a few entries at first, then entries with about this number of lines, up to a maximum.
FIRST_BATCH, LINES_PER_BATCH, MAX_BATCH = 20, 2_000, 500
# Lines that are decoded between two turns of the event loop; it takes a fraction of a millisecond.
LINES_PER_TURN = 500


class MongoEntryReader(EntryReader):
    """Reads what a majority has. Every call raises `UnavailableError`."""

    def __init__(self, mongo: Mongo) -> None:
        self._entries = mongo.collection(ENTRIES).with_options(read_concern=ReadConcern("majority"))

    async def list_newest(self, query: EntryQuery, *, rows: int) -> EntryPage:
        with mongo_errors():
            cursor = self._entries.find(_conditions(query, after="$lt")).sort("position", -1).hint(_index(query))
            found = await cursor.limit(rows + 1).batch_size(rows + 2).to_list(None)
            following = found[rows - 1]["position"] if len(found) > rows else None
            listed = found[:rows]
            groups = await self._load_groups(listed)
            return EntryPage(_list_entries(listed, groups), following, _line_count(groups))

    async def iterate_oldest(self, query: EntryQuery) -> AsyncGenerator[Sequence[ListedEntry]]:
        upcoming = asyncio.create_task(self._read_oldest(query, FIRST_BATCH))
        try:
            while found := await upcoming:
                groups = await self._load_groups(found)
                query = replace(query, after=found[-1]["position"])
                # MongoDB reads the next batch while the caller is busy with this one.
                upcoming = asyncio.create_task(self._read_oldest(query, _rows_of_next_batch(len(found), groups)))
                yield _list_entries(found, groups)
        finally:
            await asyncio.gather(upcoming, return_exceptions=True)

    async def _read_oldest(self, query: EntryQuery, rows: int) -> list[dict[str, Any]]:
        with mongo_errors():
            cursor = self._entries.find(_conditions(query, after="$gt")).sort("position", 1).hint(_index(query))
            found: list[dict[str, Any]] = await cursor.limit(rows).batch_size(rows + 1).to_list(None)
        return found

    async def find_order(self, key: GroupKey) -> list[Entry]:
        with mongo_errors():
            document = await self._entries.find_one({"_id": documents.group_id(key)})
        if document is None:
            return []
        (group,) = (await decode_groups([document])).values()
        return group.entries

    async def _load_groups(self, found: Sequence[Mapping[str, Any]]) -> dict[str, Group]:
        """Return the groups of the documents by id; the document of a further entry has no records of its own."""
        groups = await decode_groups([document for document in found if "group" not in document])
        if others := {document["group"] for document in found if "group" in document} - groups.keys():
            with mongo_errors():
                loaded = await self._entries.find({"_id": {"$in": sorted(others)}}).to_list(None)
            groups |= await decode_groups(loaded)
        return groups


async def decode_groups(found: Sequence[Mapping[str, Any]]) -> dict[str, Group]:
    """Return the groups of their documents by id. Other tasks run meanwhile: a group may have thousands of lines."""
    groups: dict[str, Group] = {}
    since_turn = 0
    for document in found:
        lines = _stored_lines(document)
        is_large = lines > LINES_PER_TURN
        groups[document["_id"]] = await asyncio.to_thread(_decode, document) if is_large else _decode(document)
        since_turn += lines
        if since_turn >= LINES_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)
    return groups


def _decode(document: Mapping[str, Any]) -> Group:
    group = documents.group_from(document)
    _ = group.entries  # Derived now, not all together by who lists them.
    return group


def _stored_lines(document: Mapping[str, Any]) -> int:
    return sum(len(record["lines"]) for record in (*document["orders"], *document["returns"]))


def _list_entries(found: Sequence[Mapping[str, Any]], groups: Mapping[str, Group]) -> list[ListedEntry]:
    entries = []
    for document in found:
        group = groups.get(document.get("group", document["_id"]))
        number = int(document.get("number", 0))
        # The group may have changed since its further entry was read.
        if group is not None and number < len(group.entries):
            entries.append(ListedEntry(document["position"], group.key, group.entries[number]))
    return entries


def _line_count(groups: Mapping[str, Group]) -> int:
    return sum(group.line_count for group in groups.values())


def _rows_of_next_batch(rows: int, groups: Mapping[str, Group]) -> int:
    """How many entries to read next: an entry may have hundreds of lines, and a batch must fit into little memory."""
    return max(1, min(MAX_BATCH, LINES_PER_BATCH * rows // max(_line_count(groups), 1)))


def _index(query: EntryQuery) -> str:
    return "site" if query.user_id is None else "user"


def _conditions(query: EntryQuery, *, after: str) -> dict[str, Any]:
    where: dict[str, Any] = {}
    if query.user_id is None:
        where["site"] = query.site
    else:
        where["user"] = documents.user_key(query.site, query.user_id)
    position: dict[str, str] = {}
    if query.from_us is not None:
        position["$gte"] = documents.position_at(query.from_us)
    if query.to_us is not None:
        position["$lt"] = documents.position_at(query.to_us)
    if query.after is not None:
        bound = position.get(after)
        position[after] = query.after if bound is None else min(bound, query.after)
    if position:
        where["position"] = position
    wanted = query.filter
    if wanted.channel is not UNSET:
        where["channel"] = wanted.channel
    if wanted.mode is not None:
        where["mode"] = wanted.mode
    if wanted.currency is not None:
        where["currency"] = wanted.currency
    return where
