"""A process that sends to all endpoints of a database, with short pauses, until it is killed."""

import asyncio
import os
import random
import sys
import time
from functools import partial

from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.outbox import Message, Outbox, Relay
from services.chassis.runtime.logs import configure
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.delivery_store import MongoDeliveryStore, MongoReplayStore
from services.webhooks.adapters.endpoint_store import ENDPOINTS, FEED, MongoEndpointStore, decode_event
from services.webhooks.adapters.feed_store import MongoFeedStore
from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.adapters.lease_store import MongoLeaseStore
from services.webhooks.adapters.notifier import FeedChangeListener, SiteNotifier
from services.webhooks.adapters.secret_sealer import AesSecretSealer, load_signing_keys
from services.webhooks.background import Dispatcher
from services.webhooks.domain.retry import RetrySchedule
from services.webhooks.flows import append_events, manage_endpoints, push

LEASE_S, TIMEOUT_S = 1.5, 0.5


def now_us() -> int:
    return time.time_ns() // 1_000


def build(
    mongo: Mongo,
    notifier: SiteNotifier,
    transport: HttpTransport,
    *,
    lease_s: float = LEASE_S,
    leases: MongoLeaseStore | None = None,
) -> Dispatcher:
    """The dispatcher as the service composes it, with tries within seconds."""
    endpoints = MongoEndpointStore(mongo, now_us=now_us)
    deps = push.Deps(
        feed=MongoFeedStore(mongo),
        endpoints=endpoints,
        deliveries=MongoDeliveryStore(mongo, now_us=now_us),
        replays=MongoReplayStore(mongo),
        secrets=AesSecretSealer([b"k" * 32]),
        transport=transport,
        keys=load_signing_keys([b"s" * 32]),
        disable=partial(manage_endpoints.disable_endpoint, endpoints=endpoints, now_us=now_us),
        now_us=now_us,
        random=random.Random().random,  # noqa: S311 - spreads retries
        schedule=RetrySchedule(pauses_us=[50_000, 100_000, 200_000, *[500_000] * 60]),
        owner=f"{os.getpid()}-{now_us()}",
        min_circuit_pause_us=50_000,
    )
    leases = leases or MongoLeaseStore(mongo, now_us=now_us)
    dispatcher = Dispatcher(deps, leases, lease_s=lease_s, clock_s=time.monotonic)
    notifier.listeners.append(dispatcher.on_new_events)
    return dispatcher


async def main(uri: str, database: str) -> None:
    async with Mongo.connect(MongoSettings(mongodb_uri=uri, mongodb_database=database)) as mongo:
        notifier = SiteNotifier(max_waiters=0)
        listener = FeedChangeListener(mongo, notifier, clock_s=time.monotonic, always_open=True)
        transport = HttpTransport(now_us=now_us, allow_loopback=True, timeout_s=TIMEOUT_S)
        await transport.start()
        await listener.start()
        append = append_events.Deps(feed=MongoFeedStore(mongo), notifier=notifier, now_us=now_us)

        async def deliver(messages: list[Message]) -> set[str]:
            await append_events.append_events([decode_event(message.value) for message in messages], append)
            return {message.id for message in messages}

        relay = Relay(Outbox(mongo, [ENDPOINTS], now_us=now_us), deliver, channel=FEED)  # type: ignore[arg-type]
        await relay.start()
        await build(mongo, notifier, transport).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure("sender", "WARNING")
    asyncio.run(main(*sys.argv[1:]))
