"""Endpoints in MongoDB.

An endpoint occupies one of its site's slots, which a unique index makes exclusive: that bounds the endpoints of a site.
A deleted one is kept for a day without its slot: events about it may still wait in its outbox.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb import outbox
from services.chassis.mongodb.client import Mongo, create_index, create_unique_index, ensure_ttl_index, mongo_errors
from services.webhooks.adapters.documents import Document, date_of, from_document, to_document
from services.webhooks.domain.endpoint import MAX_ENDPOINTS, DisabledReason, Endpoint, EndpointState, Progress
from services.webhooks.domain.event import NewEvent, derive_id

ENDPOINTS = "webhook_endpoints"
FEED, MAIL = "feed", "mail"
DAY_S = 86_400
# What the owner of an endpoint may change; the rest is its sender's.
_CONFIGURATION = ("url", "types", "description", "is_ordered", "secrets", "state", "reason", "disabled_us")
_RESET = ("position", "failures", "failing_since_us")
_PRESENT = {"deleted": {"$exists": False}}


class MongoEndpointStore:
    """Stores endpoints. `on_outbox_write` is called after each write to the outbox."""

    def __init__(
        self, mongo: Mongo, *, now_us: Callable[[], int], on_outbox_write: Callable[[], None] = lambda: None
    ) -> None:
        self._mongo = mongo
        self._endpoints = mongo.collection(ENDPOINTS).with_options(read_concern=ReadConcern("majority"))
        self._now_us = now_us
        self._on_outbox_write = on_outbox_write

    async def create_indexes(self) -> None:
        """Create the indexes."""
        await create_unique_index(self._endpoints, [("slot", 1)], name="slot", sparse=True)
        await create_index(self._endpoints, [("site", 1), ("created_us", 1)], name="site")
        await ensure_ttl_index(self._mongo, ENDPOINTS, "deleted", DAY_S)

    async def add(self, endpoint: Endpoint) -> bool:
        """Store a new endpoint in a free slot of its site."""
        document = {"_id": endpoint.id, **to_document(endpoint), "lease_until_us": 0}
        for slot in range(MAX_ENDPOINTS):
            try:
                with mongo_errors():
                    await self._endpoints.insert_one({**document, "slot": f"{endpoint.site}:{slot}"})
            except DuplicateKeyError as error:
                if "_id" in (error.details or {}).get("keyPattern", {}):
                    return True
                continue
            return True
        return False

    async def find(self, site: int, endpoint_id: str) -> Endpoint | None:
        """The site's endpoint."""
        with mongo_errors():
            found = await self._endpoints.find_one({"_id": endpoint_id, "site": site, **_PRESENT})
        return None if found is None else from_document(found, Endpoint)

    async def list_endpoints(self, site: int) -> Sequence[Endpoint]:
        """The site's endpoints, the oldest first."""
        with mongo_errors():
            found = await self._endpoints.find({"site": site, **_PRESENT}).sort("created_us", 1).to_list(None)
        return [from_document(document, Endpoint) for document in found]

    async def replace(self, before: Endpoint, after: Endpoint, *, events: Sequence[NewEvent] = ()) -> bool:
        """Change the configuration unless it has changed; one that was disabled begins at a new position."""
        old, new = to_document(before), to_document(after)
        names = _CONFIGURATION if before.is_enabled else (*_CONFIGURATION, *_RESET)
        unchanged = {"_id": before.id, **_PRESENT, **{name: old[name] for name in _CONFIGURATION}}
        update: Document = {"$set": {name: new[name] for name in names}}
        return await self._update(unchanged, update, self._messages(after, events, mail=False))

    async def delete(self, site: int, endpoint_id: str) -> bool:
        """Mark the endpoint as deleted, and free its slot."""
        change = {
            "$set": {"deleted": date_of(self._now_us()), "state": "deleted", "secrets": []},
            "$unset": {"slot": ""},
        }
        with mongo_errors():
            result = await self._endpoints.update_one({"_id": endpoint_id, "site": site, **_PRESENT}, change)
        return bool(result.matched_count)

    async def save_progress(self, endpoint_id: str, owner: str, progress: Progress) -> bool:
        """Store the progress while the endpoint is the owner's."""
        with mongo_errors():
            result = await self._endpoints.update_one(
                {"_id": endpoint_id, "owner": owner, "state": EndpointState.ENABLED.value},
                {"$set": msgspec.to_builtins(progress)},
            )
        return bool(result.matched_count)

    async def disable(
        self, endpoint: Endpoint, reason: DisabledReason, *, at_us: int, events: Sequence[NewEvent], mail: bool
    ) -> bool:
        """Disable an enabled endpoint."""
        disabled = replace(endpoint, state=EndpointState.DISABLED, reason=reason, disabled_us=at_us)
        enabled = {"_id": endpoint.id, "state": EndpointState.ENABLED.value}
        update: Document = {"$set": {"state": disabled.state.value, "reason": reason.value, "disabled_us": at_us}}
        return await self._update(enabled, update, self._messages(disabled, events, mail=mail))

    async def find_sealed_with_other_keys(self, key_id: str, *, limit: int) -> Sequence[Endpoint]:
        """Endpoints that have a secret which is not sealed with this key."""
        other = {"secrets": {"$elemMatch": {"key_id": {"$ne": key_id}}}}
        with mongo_errors():
            found = await self._endpoints.find(other).limit(limit).to_list(None)
        return [from_document(document, Endpoint) for document in found]

    async def replace_secrets(self, before: Endpoint, after: Endpoint) -> bool:
        """Store the secrets of `after` unless those of `before` have changed."""
        unchanged = {"_id": before.id, "secrets": to_document(before)["secrets"]}
        with mongo_errors():
            result = await self._endpoints.update_one(unchanged, {"$set": {"secrets": to_document(after)["secrets"]}})
        return bool(result.matched_count)

    async def count_by_state(self) -> dict[str, int]:
        """The number of endpoints by state."""
        found = await self._mongo.aggregate(
            self._endpoints, [{"$match": _PRESENT}, {"$group": {"_id": "$state", "count": {"$sum": 1}}}]
        )
        return {document["_id"]: int(document["count"]) for document in found}

    async def _update(self, where: Document, update: Document, messages: Sequence[outbox.Message]) -> bool:
        if messages:
            update |= outbox.outbox_push(messages)
        with mongo_errors():
            result = await self._endpoints.update_one(where, update)
        if result.matched_count and messages:
            self._on_outbox_write()
        return bool(result.matched_count)

    def _messages(self, endpoint: Endpoint, events: Sequence[NewEvent], *, mail: bool) -> list[outbox.Message]:
        now_us = self._now_us()
        messages = [
            outbox.Message(
                id=event.id, channel=FEED, target=event.type, value=msgspec.json.encode(event), created_us=now_us
            )
            for event in events
        ]
        if mail:
            mail_id = derive_id("mail", endpoint.id, str(endpoint.disabled_us))
            text = msgspec.json.encode({"site": endpoint.site, "url": endpoint.url, "reason": endpoint.reason})
            messages.append(outbox.Message(id=mail_id, channel=MAIL, target=endpoint.id, value=text, created_us=now_us))
        return messages


def decode_event(value: bytes) -> NewEvent:
    """The event of a message of the channel `FEED`."""
    return msgspec.json.decode(value, type=NewEvent)
