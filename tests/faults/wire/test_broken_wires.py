"""T1: connections are cut after some bytes, slow, sliced, or open in one direction only."""

import pytest

from tests.chassis.eventually import until
from tests.faults.wire.conftest import Case, suffered
from tests.faults.wire.proxy import BOTH, Direction

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CUTS = 8


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("server", ["kafka", "mongodb", "ingest", "status", "fulfilment"])
async def test_connections_are_cut_in_the_middle_of_messages(case: Case, server: str, direction: Direction) -> None:
    """F8, F9, F17. Breaks: all connections to a server are reset after 1, 50, 1,000 … bytes, eight times.

    Must hold: all invariants. Known by the ledger of requests and answers, compared with the APIs and the topics.
    """
    async with case.load(seed=11) as load:
        for turn in range(CUTS):
            flow = case.server(server).flows[direction]
            flow.cut_after_bytes = (1, 50, 1_000, 20_000)[turn % 4]
            await until(lambda cut=flow: cut.cut_after_bytes is None, deadline_s=20)  # type: ignore[misc]
            await suffered(load, requests=10, at_most_s=3)


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("server", ["kafka", "mongodb"])
async def test_a_server_can_be_reached_in_one_direction_only(case: Case, server: str, direction: Direction) -> None:
    """F8. Breaks: for eight seconds nothing goes through in one direction; what was sent arrives afterwards.

    Must hold: answers are 2xx or 503 with `Retry-After`, and jobs end 30 s after healing. Known by the invariants.
    """
    async with case.load(seed=12) as load:
        case.server(server).flows[direction].hold()
        await suffered(load, requests=100_000, at_most_s=8)


@pytest.mark.parametrize("server", ["kafka", "mongodb"])
async def test_a_slow_server_loses_nothing(case: Case, server: str) -> None:
    """F21. Breaks: each message to and from a server takes a fifth of a second, in pieces of 1,000 bytes.

    Must hold: nothing is dropped, and no service takes more memory than it may. Known by the invariants and by the
    services' memory, measured twice a second.
    """
    async with case.load(seed=13) as load:
        for flow in case.server(server).flows.values():
            flow.delay_s, flow.piece_bytes, flow.rest_s = 0.2, 1_000, 0.001
        await suffered(load, requests=100_000, at_most_s=15)


@pytest.mark.parametrize("service", ["ingest", "status", "fulfilment"])
async def test_slow_clients_get_correct_answers(case: Case, service: str) -> None:
    """F22. Breaks: requests and answers come in pieces of 200 bytes, with rests.

    Must hold: what is answered is true; a body that takes too long is a 408 and leaves nothing. Known by the
    invariants.
    """
    async with case.load(seed=14) as load:
        for flow in case.server(service).flows.values():
            flow.piece_bytes, flow.rest_s = 200, 0.02
        await suffered(load, requests=100_000, at_most_s=10)


@pytest.mark.parametrize("for_s", [5, 15])
async def test_a_broker_freezes_with_its_connections_open(case: Case, for_s: float) -> None:
    """F7. Breaks: the broker stops for 5 or 15 s (SIGSTOP); its kernel still accepts connections and bytes.

    Must hold: clients are answered 2xx or 503 within their time, no service takes more memory than it may, jobs end.
    Known by the answers, the services' memory and the invariants.
    """
    async with case.load(seed=15) as load:
        (broker,) = case.installation.kafka.brokers
        broker.suspend()
        await suffered(load, requests=100_000, at_most_s=for_s)
        assert not load.api.answers["import", 500]


async def test_without_auth_known_tokens_go_on(case: Case) -> None:
    """F5. Breaks: auth cannot be reached, nor its signing keys.

    Must hold: clients with a token are served. Known by imports that are accepted meanwhile.
    """
    async with case.load(seed=16) as load:
        auth = case.server("auth")
        auth.is_refusing = True
        auth.cut()
        accepted = load.api.answers["import", 202]
        await until(lambda: load.api.answers["import", 202] > accepted + 20, deadline_s=20)


@pytest.mark.parametrize("server", ["kafka", "mongodb"])
async def test_a_server_dies_under_load(case: Case, server: str) -> None:
    """F6, F16. Breaks: the only broker, or the only member of MongoDB, dies by SIGKILL and starts again.

    Must hold: what was answered 2xx is there. Known by the invariants.
    """
    async with case.load(seed=17) as load:
        installation = case.installation
        process = installation.kafka.brokers[0] if server == "kafka" else installation.mongodb.members[0]
        process.kill()
        await suffered(load, requests=100_000, at_most_s=2)
        process.launch()
        await suffered(load, requests=100_000, at_most_s=5)
