"""T1: requests are carried out and their answers are lost; processes die before they hear of them."""

import pytest

from tests.chassis.eventually import until
from tests.faults.wire.conftest import Case, drop, lasts, suffered
from tests.faults.wire.proxy import BOTH, Direction

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

TURNS = 6


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("server", ["kafka", "mongodb"])
async def test_nothing_is_lost_or_doubled_when_bytes_of_a_server_are(
    case: Case, server: str, direction: Direction
) -> None:
    """F9, F17. Breaks: bytes between all services and a server are discarded, six times for up to a second.

    Must hold: all invariants; in particular no record is appended twice, and no code is sold twice. Known by the ledger
    of requests and answers, compared with the APIs and the topics.
    """
    async with case.load(seed=1) as load:
        for _ in range(TURNS):
            await drop(case.server(server), direction, load)


async def test_an_unknown_outcome_is_a_503_that_names_the_job(case: Case) -> None:
    """F9. Breaks: Kafka's answers are lost for longer than a send may take.

    Must hold: imports are answered 503 with `Retry-After` and the job's id; the job is there completely or not at all.
    Known by the answers, and by the invariants.
    """
    async with case.load(seed=2) as load:
        case.kafka.flows[Direction.ANSWERS].is_dropping = True

        def named() -> bool:
            attempts = [one for sent in load.ledger.imports for one in sent.attempts]
            return any(one.status == 503 and one.job_id and one.has_retry_after for one in attempts)

        await until(named, deadline_s=20)


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize(
    ("victim", "server"),
    [
        ("ingest", "kafka"),
        ("validator", "kafka"),
        ("status", "kafka"),
        ("status", "mongodb"),
        ("fulfilment", "mongodb"),
    ],
)
async def test_a_process_dies_before_it_hears_what_became_of_its_writes(
    case: Case, victim: str, server: str, direction: Direction
) -> None:
    """F1, F2, F3, F4. Breaks: a service dies by SIGKILL before an append, or between the append and its answer.

    The server gets (or does not get) what the service sends, and its answer is lost. Must hold: all invariants; what
    was answered 2xx is there, the rest at most once. Known by the ledger of requests and answers, compared with the
    APIs and the topics.
    """
    async with case.load(seed=3) as load:
        for _ in range(2):
            case.server(server).flows[direction].is_dropping = True
            await suffered(load, requests=20, at_most_s=1.5)
            replica = case.installation.replicas[f"{victim}-1"]
            replica.kill()
            case.server(server).heal()
            replica.launch()
            await until(lambda killed=replica: killed.is_ready(case.installation.session), deadline_s=60)  # type: ignore[misc]


@pytest.mark.parametrize("service", ["ingest", "status", "fulfilment", "auth"])
async def test_clients_may_lose_answers(case: Case, service: str) -> None:
    """F9. Breaks: the answers of a service to its clients are lost, six times for up to a second.

    Must hold: a request that is sent again under its key is one job; without a key, each attempt is at most one. Known
    by the jobs in Kafka.
    """
    async with case.load(seed=4) as load:
        for _ in range(TURNS):
            await drop(case.server(service), Direction.ANSWERS, load)


async def test_a_job_of_many_records_survives_lost_answers(case: Case) -> None:
    """F9, F17. Breaks: as above, while direct producers send jobs of up to 20,000 records that clients page through.

    Must hold: each record ends once, and pages that were read meanwhile are a beginning of the job's events.
    """
    async with case.load(seed=5, largest_job=20_000) as load:
        for server in ("kafka", "mongodb") * 4:
            await drop(case.server(server), Direction.ANSWERS, load)
        await lasts(lambda: True, at_most_s=2)
