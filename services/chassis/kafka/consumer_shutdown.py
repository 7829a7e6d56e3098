"""The end of a consumer: it leaves its group and ends, also while a broker or the group stands still."""

import asyncio
from contextlib import suppress
from functools import partial

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

CLOSE_TIMEOUT_S = 2.0


async def close(kafka: AIOKafkaConsumer) -> None:
    """Leave the group if that is possible, and let go of everything, within seconds."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await kafka.stop()
            return
    # A broker that stands still, or a group that does, keeps aiokafka from leaving it; the rest must end all the same.
    coordinator, fetcher = kafka._coordinator, kafka._fetcher  # noqa: SLF001 - aiokafka has no way to give up
    ends = [kafka._client.close]  # noqa: SLF001 - likewise
    if fetcher is not None:
        ends.insert(0, fetcher.close)
    if coordinator is not None:
        ends[:0] = [coordinator._stop_heartbeat_task, coordinator._stop_commit_offsets_refresh_task]  # noqa: SLF001
        ends.insert(-1, partial(_leave, kafka))
    for end in ends:
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await end()


async def _leave(kafka: AIOKafkaConsumer) -> None:
    """Leave a group that is being joined: else the others would wait for a member that is gone, for a whole session.

    The answer to joining comes only when all have joined, and until then its connection takes nothing else.
    """
    coordinator = kafka._coordinator  # noqa: SLF001 - aiokafka leaves over the same connection
    static = coordinator._group_instance_id is not None  # noqa: SLF001 - likewise
    if coordinator.member_id and coordinator.coordinator_id is not None and not static:
        request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        await kafka._client.send(coordinator.coordinator_id, request)  # noqa: SLF001 - likewise
