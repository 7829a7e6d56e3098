"""A receipt of an erasure is shown once a majority of the replica set has it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import MongoSettings
from services.ledger.adapters.erasures import MongoErasures
from services.ledger.ports import Erasure
from tests.chassis.eventually import until
from tests.support.replica_sets import suspended_secondaries


async def test_a_receipt_shows_nothing_that_a_failing_primary_rolls_back(tmp_path: Path) -> None:
    """Breaks: an erasure is completed on a primary that no secondary follows any more."""
    with ReplicaSet(tmp_path, nodes=3) as replica_set:
        # A primary without secondaries steps down after ten seconds: operations must time out before.
        async with Mongo.connect(MongoSettings(mongodb_uri=replica_set.uri, mongodb_timeout_ms=500)) as mongo:
            erasures = MongoErasures(mongo, user_fingerprint=lambda _site, user_id: user_id)

            async def is_acknowledged(write: Callable[[], Awaitable[object]]) -> bool:
                with suppress(UnavailableError):
                    await write()
                    return True
                return False

            def request() -> Awaitable[Erasure]:
                return erasures.request(608, "user", receipt="receipt", pseudonym="pseudonym", at_us=1)

            await until(lambda: is_acknowledged(request))
            requested = await request()
            with suspended_secondaries(replica_set):
                assert not await is_acknowledged(partial(erasures.complete, requested, at_us=2))
                assert await erasures.find(608, "receipt") == requested
                assert await erasures.pending() == [requested]
            await until(lambda: is_acknowledged(partial(erasures.complete, requested, at_us=2)))
            assert (await erasures.find(608, "receipt")) == replace(requested, user_id=None, completed_us=2)
