"""The aiokafka client of a consumer: how it is created, and how it is closed when the broker or the group hangs."""

import asyncio
from contextlib import suppress
from functools import partial

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from services.chassis.kafka import aiokafka_patches
from services.chassis.kafka.connection_options import connection_options
from services.chassis.runtime.settings import KafkaSettings

CLOSE_TIMEOUT_S = 2.0
# Shorter than aiokafka's 40 s, which is how long a silently broken connection would hold up records.
REQUEST_TIMEOUT_MS = 15_000


def create_client(settings: KafkaSettings, *, group: str, client_id: str, poll_timeout_ms: int) -> AIOKafkaConsumer:
    """Return a client that is not yet started."""
    aiokafka_patches.install()
    return AIOKafkaConsumer(
        **connection_options(settings),
        client_id=client_id,
        group_id=group,
        enable_auto_commit=False,
        # The consumer seeks, and reports the records that retention deleted.
        auto_offset_reset="none",
        # Other producers may use transactions: aborted records must not be read.
        isolation_level="read_committed",
        # Range gives each member its share of each topic. Sticky counts the partitions of all topics together: a new
        # member could get the whole of a topic without lag. It is still offered, because a group picks an assignor
        # that all members know, and older members know only that one.
        partition_assignment_strategy=(RangePartitionAssignor, StickyPartitionAssignor),
        group_instance_id=settings.kafka_group_instance_id,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=min(settings.kafka_session_timeout_ms // 5, 3_000),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        fetch_max_wait_ms=poll_timeout_ms,
        metadata_max_age_ms=30_000,
    )


async def close_client(kafka: AIOKafkaConsumer) -> None:
    """Leave the group if possible, and close everything within seconds."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await kafka.stop()
            return
    # A broker or a group that hangs keeps aiokafka from leaving; the rest must be closed all the same.
    coordinator, fetcher = kafka._coordinator, kafka._fetcher  # noqa: SLF001 - aiokafka cannot be closed by force
    steps = [kafka._client.close]  # noqa: SLF001 - as above
    if fetcher is not None:
        steps.insert(0, fetcher.close)
    if coordinator is not None:
        steps[:0] = [coordinator._stop_heartbeat_task, coordinator._stop_commit_offsets_refresh_task]  # noqa: SLF001
        steps.insert(-1, partial(_leave_group, kafka))
    for step in steps:
        with suppress(KafkaError, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await step()


async def _leave_group(kafka: AIOKafkaConsumer) -> None:
    """Leave a group that is still being joined: otherwise its members wait a whole session for a dead member.

    The response to joining arrives only when all members have joined; until then the coordinator's connection is
    blocked, so another one is used.
    """
    coordinator = kafka._coordinator  # noqa: SLF001 - aiokafka leaves over the blocked connection
    is_static = coordinator._group_instance_id is not None  # noqa: SLF001 - as above
    if coordinator.member_id and coordinator.coordinator_id is not None and not is_static:
        request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        await kafka._client.send(coordinator.coordinator_id, request)  # noqa: SLF001 - as above
