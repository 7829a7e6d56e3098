"""Disks that are full or fail. They are file systems in memory, which only root can mount."""

import pytest

from tests.faults.stack.disks import reason_against
from tests.faults.wire.conftest import Case, suffered

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(reason_against()), reason=reason_against()),
]


@pytest.mark.parametrize("fault", ["full", "writes", "syncs"])
@pytest.mark.parametrize("server", ["kafka", "mongodb"])
async def test_no_2xx_for_what_a_disk_does_not_take(case: Case, server: str, fault: str) -> None:
    """F18, F19. Breaks: the disk of the broker, or of MongoDB, is full, or writes or syncs fail, for six seconds.

    A server that ends itself is started again, as its supervisor does. Must hold: answers are 2xx for what is durable,
    else 503, and everything recovers by itself. Known by the invariants.
    """
    installation = case.installation
    process = installation.kafka.brokers[0] if server == "kafka" else installation.mongodb.members[0]
    async with case.load(seed=21) as load:
        disk = installation.disks.of(process)
        if fault == "full":
            disk.fill()
        else:
            disk.fail(fault)
        await suffered(load, requests=100_000, at_most_s=6)
        disk.free()
