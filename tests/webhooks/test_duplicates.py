"""A database that was restored without indexes: duplicates prevent them until the runbook's updates are applied."""

import pytest

from services.chassis.mongodb.client import DuplicatesError, Mongo
from services.webhooks.adapters.delivery_store import REPLAYS
from services.webhooks.adapters.endpoint_store import ENDPOINTS
from services.webhooks.adapters.feed_store import EVENTS
from services.webhooks.domain.replay import ReplayState
from tests.webhooks.feed_fixtures import mongo
from tests.webhooks.sender_harness import SenderHarness

__all__ = ["mongo"]

STOP = {"$set": {"state": ReplayState.STOPPED.value}, "$unset": {"running": ""}}
DUPLICATES = {
    EVENTS: ({"event": "v"}, None),
    ENDPOINTS: ({"slot": "608:0"}, {"$unset": {"slot": ""}}),
    REPLAYS: ({"running": "endpoint"}, STOP),
}


@pytest.mark.parametrize("collection", DUPLICATES)
async def test_the_later_one_is_changed_or_removed(mongo: Mongo, collection: str) -> None:
    fields, mend = DUPLICATES[collection]
    documents = mongo.collection(collection)
    await documents.insert_many([{"_id": name, **fields} for name in ("608:1", "608:2")])
    with pytest.raises(DuplicatesError, match=collection):
        await SenderHarness(mongo).prepare()
    if mend is None:
        await documents.delete_one({"_id": "608:2"})
    else:
        await documents.update_one({"_id": "608:2"}, mend)
    await SenderHarness(mongo).prepare()
