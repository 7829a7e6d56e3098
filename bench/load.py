"""Load on a whole sandbox through the import and status APIs, in a closed or an open loop."""

import asyncio
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

import aiohttp

from bench.tenant import API_KEY, CLIENT, SECRET

IMPORT, STATUS = "/omnichannel/api/v1", "/common-status/v1"


@dataclass(slots=True)
class Tally:
    """Accepted jobs, latencies, and refused requests by status."""

    jobs: list[str] = field(default_factory=list)
    accepted_s: list[float] = field(default_factory=list)
    visible_s: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)

    def count_refused(self, status: int) -> None:
        self.refused[status] = self.refused.get(status, 0) + 1


class Client:
    """A client with the benchmark tenant's credentials."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session
        self._tokens: dict[str, str] = {}

    async def authenticate(self) -> None:
        """Get a token for each API."""
        form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
        for api in (IMPORT, STATUS):
            async with self._session.post(f"{self._base}{api}/oauth2/token", data=form) as response:
                response.raise_for_status()
                self._tokens[api] = (await response.json())["access_token"]

    async def send(self, body: bytes, tally: Tally) -> str | None:
        """Send one import request; return its job's id if it was accepted."""
        headers = {
            "Authorization": f"Bearer {self._tokens[IMPORT]}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        sent_at = perf_counter()
        url = f"{self._base}{IMPORT}/{API_KEY}/orders"
        async with self._session.post(url, data=body, headers=headers) as response:
            accepted = await response.json(content_type=None)
            if response.status != 202:
                tally.count_refused(response.status)
                return None
        tally.accepted_s.append(perf_counter() - sent_at)
        tally.jobs.append(accepted["jobId"])
        return str(accepted["jobId"])

    async def wait_for_job(self, job_id: str) -> dict[str, int]:
        """Wait for the job's end; return its record counts."""
        headers = {"Authorization": f"Bearer {self._tokens[STATUS]}", "Prefer": "wait=20"}
        while True:
            async with self._session.get(f"{self._base}{STATUS}/{API_KEY}/job/{job_id}", headers=headers) as response:
                report = await response.json(content_type=None)
                if response.status == 429:
                    await asyncio.sleep(0.2)
                    continue
                if response.status == 200 and report["summary"]["job"]["terminal"]:
                    counts: dict[str, int] = report["summary"]["job"]["baggage"]["records"]
                    return counts


async def closed_loop(client: Client, bodies: list[bytes], *, seconds: float, connections: int) -> tuple[Tally, float]:
    """Send the next request of each connection after its response; return the seconds until the last job's end."""
    tally, source, began = Tally(), cycle(bodies), perf_counter()

    async def send_in_a_row() -> None:
        while perf_counter() - began < seconds:
            await client.send(next(source), tally)

    await asyncio.gather(*(send_in_a_row() for _ in range(connections)))
    # Jobs end roughly in the order of their acceptance, so it is enough to wait for the last ones.
    await asyncio.gather(*(client.wait_for_job(job) for job in tally.jobs[-connections:]))
    return tally, perf_counter() - began


async def open_loop(client: Client, bodies: list[bytes], *, per_second: float, seconds: float) -> Tally:
    """Send requests on schedule, whether or not earlier ones are answered; follow each job to its end."""
    tally, tasks, began = Tally(), [], perf_counter()

    async def send_and_follow(body: bytes) -> None:
        job_id = await client.send(body, tally)
        if job_id is not None:
            accepted_at = perf_counter()
            await client.wait_for_job(job_id)
            tally.visible_s.append(perf_counter() - accepted_at)

    source = cycle(bodies)
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(due - perf_counter(), 0))
        tasks.append(asyncio.create_task(send_and_follow(next(source))))
    await asyncio.gather(*tasks)
    return tally
