"""T2: one round of each fault that needs three brokers, three members or two replicas. `make campaign` plays more."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.campaign.__main__ import COUNTS, SETTINGS
from tests.faults.campaign.rounds import FAULTS, play
from tests.faults.stack.installation import Installation, running
from tests.faults.stack.tenants import make_tenants

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

NAMES = [fault.name for fault in FAULTS]


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    made = Installation(
        tmp_path_factory.mktemp("campaign"),
        make_tenants(len(NAMES)),
        nodes=3,
        counts=COUNTS,
        settings=SETTINGS,
        has_disks=True,
    )
    async with running(made):
        yield made


@pytest.fixture(scope="module")
def known() -> set[bytes]:
    return set()


@pytest.mark.parametrize("name", NAMES)
async def test_a_round_of_each_fault(installation: Installation, known: set[bytes], name: str) -> None:
    """Breaks: what the fault does, one to three times at once, under the load of all kinds of clients.

    Must hold: I1 to I6 and I8 to I10. Known by the clients' ledger, compared with the APIs, topics, logs and metrics.
    """
    fault = next(each for each in FAULTS if each.name == name)
    if fault.needs_disks and installation.disks.why_not:
        pytest.skip(installation.disks.why_not)
    number = NAMES.index(name)
    played = await play(9_000 + number, installation, installation.tenants[number], [name], known)
    assert [str(each) for each in played.violations][:5] == [], played.story
