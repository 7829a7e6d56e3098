"""Requests at a rate, or as many as go; every answer is counted."""

import asyncio
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

import aiohttp

from bench.tenant import API_KEY, CLIENT, SECRET

IMPORT, STATUS = "/omnichannel/api/v1", "/common-status/v1"


@dataclass(slots=True)
class Tally:
    """What came back."""

    jobs: list[str] = field(default_factory=list)
    accepted_s: list[float] = field(default_factory=list)
    visible_s: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)

    def count_refused(self, status: int) -> None:
        self.refused[status] = self.refused.get(status, 0) + 1


class Client:
    """One busy customer."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session
        self._tokens: dict[str, str] = {}

    async def authenticate(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
        for api in (IMPORT, STATUS):
            async with self._session.post(f"{self._base}{api}/oauth2/token", data=form) as answer:
                answer.raise_for_status()
                self._tokens[api] = (await answer.json())["access_token"]

    async def send(self, body: bytes, tally: Tally) -> str | None:
        """One request; its job, if it was accepted."""
        headers = {
            "Authorization": f"Bearer {self._tokens[IMPORT]}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        began = perf_counter()
        async with self._session.post(f"{self._base}{IMPORT}/{API_KEY}/orders", data=body, headers=headers) as answer:
            read = await answer.json(content_type=None)
            if answer.status != 202:
                tally.count_refused(answer.status)
                return None
        tally.accepted_s.append(perf_counter() - began)
        tally.jobs.append(read["jobId"])
        return str(read["jobId"])

    async def wait_for_job(self, job: str) -> dict[str, int]:
        """The job's counts once it is at its end."""
        headers = {"Authorization": f"Bearer {self._tokens[STATUS]}", "Prefer": "wait=20"}
        while True:
            async with self._session.get(f"{self._base}{STATUS}/{API_KEY}/job/{job}", headers=headers) as answer:
                read = await answer.json(content_type=None)
                if answer.status == 429:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status == 200 and read["summary"]["job"]["terminal"]:
                    counts: dict[str, int] = read["summary"]["job"]["baggage"]["records"]
                    return counts


async def closed_loop(client: Client, bodies: list[bytes], *, seconds: float, connections: int) -> tuple[Tally, float]:
    """Closed loop: each connection sends its next request when it has its answer. Returns until the last job's end."""
    tally, source, began = Tally(), cycle(bodies), perf_counter()

    async def one() -> None:
        while perf_counter() - began < seconds:
            await client.send(next(source), tally)

    await asyncio.gather(*(one() for _ in range(connections)))
    # Jobs end about in the order in which they came; the last ones tell when all is done.
    await asyncio.gather(*(client.wait_for_job(job) for job in tally.jobs[-connections:]))
    return tally, perf_counter() - began


async def open_loop(client: Client, bodies: list[bytes], *, per_second: float, seconds: float) -> Tally:
    """Open loop: requests leave on time, whatever becomes of those before; each job is followed to its end."""
    tally, tasks, began = Tally(), [], perf_counter()

    async def one(body: bytes) -> None:
        job = await client.send(body, tally)
        if job is not None:
            accepted = perf_counter()
            await client.wait_for_job(job)
            tally.visible_s.append(perf_counter() - accepted)

    source = cycle(bodies)
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(due - perf_counter(), 0))
        tasks.append(asyncio.create_task(one(next(source))))
    await asyncio.gather(*tasks)
    return tally
