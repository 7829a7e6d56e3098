"""Checks and imports in MongoDB, with their leases.

A worker has an import while its lease lasts; each that claims it raises its epoch, and what an earlier one reports has
no effect. What the owner of an import wishes and what its worker reports are single updates, in any order.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, create_index, ensure_ttl_index, fetch_all, mongo_errors
from services.portal.adapters.documents import EXPIRES, date_of, from_document, to_document
from services.portal.domain.file_import import FileImport, State, Wish

IMPORTS = "portal_imports"
MAX_FOUND = 100
_RESUMED = {"needs_sign_in": False, "problem": None, "not_before_us": 0}


class MongoImportStore:
    """The `ImportStore` in MongoDB."""

    def __init__(self, mongo: Mongo, *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._imports = mongo.collection(IMPORTS).with_options(read_concern=ReadConcern("majority"))
        self._now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_index(self._imports, [("site", 1), ("created_us", -1)], name="site")
        await create_index(self._imports, [("state", 1), ("created_us", 1)], name="work")
        await ensure_ttl_index(self._mongo, IMPORTS, EXPIRES, 0)

    async def add(self, run: FileImport) -> bool:
        try:
            with mongo_errors():
                await self._imports.insert_one(to_document(run) | {EXPIRES: date_of(run.expires_us)})
        except DuplicateKeyError:
            return False
        return True

    async def reopen(self, run: FileImport) -> None:
        ended = {"$in": [State.CANCELLED.value, State.FAILED.value]}
        change = {
            "state": State.WAITING.value,
            "wish": Wish.RUN.value,
            "upload": run.upload,
            "file_name": run.file_name,
            "ended_us": None,
            **_RESUMED,
        }
        with mongo_errors():
            await self._imports.update_one({"_id": run.id, "site": run.site, "state": ended}, {"$set": change})

    async def find(self, site: int, import_id: str) -> FileImport | None:
        with mongo_errors():
            found = await self._imports.find_one({"_id": import_id, "site": site})
        return _import_or_none(found)

    async def of_site(self, site: int, *, limit: int) -> Sequence[FileImport]:
        return (await self._find_all({"site": site}))[:limit]

    async def of_upload(self, site: int, upload_id: str) -> Sequence[FileImport]:
        return await self._find_all({"site": site, "upload": upload_id})

    async def mending(self, site: int, import_id: str) -> Sequence[FileImport]:
        return await self._find_all({"site": site, "mends_import": import_id})

    async def _find_all(self, query: dict[str, Any]) -> Sequence[FileImport]:
        cursor = self._imports.find(query).sort("created_us", -1).limit(MAX_FOUND)
        return [from_document(document, FileImport) for document in await fetch_all(cursor)]

    async def wish(self, site: int, import_id: str, wish: Wish) -> FileImport | None:
        key = {"_id": import_id, "site": site}
        allowed, change = _WISHES[wish]
        fields = dict(change)
        if wish is Wish.CANCEL:
            fields["ended_us"] = _if_state([State.WAITING, State.PAUSED], self._now_us(), "$ended_us")
        with mongo_errors():
            await self._imports.update_one({**key, **allowed}, [{"$set": {"wish": wish.value, **fields}}])
        return await self.find(site, import_id)

    async def claim(self, owner: str, *, lease_us: int, max_per_site: int) -> FileImport | None:
        now_us = self._now_us()
        # Further ahead than a lease lasts: set by a clock that was wrong.
        is_free = {"$or": [{"lease_until_us": {"$lt": now_us}}, {"lease_until_us": {"$gt": now_us + 10 * lease_us}}]}
        waits = {"state": State.WAITING.value, "not_before_us": {"$lte": now_us}}
        query: dict[str, Any] = {"$or": [waits, {"state": State.RUNNING.value, **is_free}]}
        if full := await self._full_sites(max_per_site):
            query["$or"][0]["site"] = {"$nin": full}
        lease = {"owner": owner, "lease_until_us": now_us + lease_us, "state": State.RUNNING.value}
        with mongo_errors():
            found = await self._imports.find_one_and_update(
                query,
                {"$set": lease, "$inc": {"epoch": 1}},
                sort=[("created_us", 1)],
                return_document=ReturnDocument.AFTER,
            )
        return _import_or_none(found)

    async def heartbeat(self, run: FileImport, *, lease_us: int) -> FileImport | None:
        document = to_document(run)
        progress = {name: document[name] for name in ("total", "counts", "records_per_s", "left_s", "problem")}
        change = {**progress, "lease_until_us": self._now_us() + lease_us}
        with mongo_errors():
            found = await self._imports.find_one_and_update(
                _held(run), {"$set": change}, return_document=ReturnDocument.AFTER
            )
        return _import_or_none(found)

    async def count_running(self, site: int) -> int:
        with mongo_errors():
            return int(await self._imports.count_documents({"site": site, "state": State.RUNNING.value}))

    async def settle(self, run: FileImport) -> None:
        document = to_document(run)
        kept = ("total", "counts", "problem", "needs_sign_in", "groups", "not_before_us")
        # As literals: what a person wrote may begin with a dollar.
        change: dict[str, Any] = {name: {"$literal": document[name]} for name in kept}
        change |= {"owner": "", "lease_until_us": 0, "records_per_s": 0.0, "left_s": None}
        change |= _settled_state(run, self._now_us())
        with mongo_errors():
            await self._imports.update_one(_held(run), [{"$set": change}])

    async def _full_sites(self, max_per_site: int) -> list[int]:
        running = await self._mongo.aggregate(
            self._imports,
            [
                {"$match": {"state": State.RUNNING.value}},
                {"$group": {"_id": "$site", "count": {"$sum": 1}}},
                {"$match": {"count": {"$gte": max_per_site}}},
            ],
        )
        return [int(each["_id"]) for each in running]


def _if_state(states: Sequence[State], then: object, otherwise: object) -> dict[str, Any]:
    return {"$cond": [{"$in": ["$state", [state.value for state in states]]}, then, otherwise]}


# Which states allow a wish, and what else it changes: what nobody works on changes at once.
_WISHES: dict[Wish, tuple[dict[str, Any], dict[str, Any]]] = {
    Wish.PAUSE: (
        {"state": {"$in": [State.WAITING.value, State.RUNNING.value]}, "wish": Wish.RUN.value},
        {"state": _if_state([State.WAITING], State.PAUSED.value, "$state")},
    ),
    Wish.RUN: (
        {
            "$or": [
                {"state": State.PAUSED.value},
                {"state": State.RUNNING.value, "wish": Wish.PAUSE.value},
            ]
        },
        {"state": _if_state([State.PAUSED], State.WAITING.value, "$state"), **_RESUMED},
    ),
    Wish.CANCEL: (
        {"state": {"$in": [State.WAITING.value, State.RUNNING.value, State.PAUSED.value]}},
        {"state": _if_state([State.WAITING, State.PAUSED], State.CANCELLED.value, "$state")},
    ),
}


def _settled_state(run: FileImport, now_us: int) -> dict[str, Any]:
    """Return the state after its worker has stopped: a final one stays, else what its owner wished meanwhile holds."""
    if run.state.is_final:
        return {"state": run.state.value, "ended_us": now_us}
    is_cancelled = {"$eq": ["$wish", Wish.CANCEL.value]}
    is_paused = {"$eq": ["$wish", Wish.PAUSE.value]}
    kept = {"$cond": [is_paused, State.PAUSED.value, run.state.value]}
    return {
        "state": {"$cond": [is_cancelled, State.CANCELLED.value, kept]},
        "ended_us": {"$cond": [is_cancelled, now_us, None]},
    }


def _held(run: FileImport) -> dict[str, Any]:
    return {"_id": run.id, "owner": run.owner, "epoch": run.epoch, "state": State.RUNNING.value}


def _import_or_none(document: dict[str, Any] | None) -> FileImport | None:
    return None if document is None else from_document(document, FileImport)
