"""E-mail addresses and card numbers, sent in place of hashes, appear nowhere in what the system stores or returns."""

import json
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.e2e.customer import Customer, Reply
from tests.e2e.installation import Installation
from tests.e2e.test_canaries import content, documents, records


def card_number(generator: random.Random) -> str:
    """Generate sixteen digits that pass the Luhn check."""
    digits = [4, *(generator.randrange(10) for _ in range(14))]
    doubled = (2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[0::2])
    return "".join(map(str, digits)) + str(-(sum(doubled) + sum(digits[1::2])) % 10)


@dataclass
class PlantedData:
    """Values that must appear nowhere, and the responses to the requests that contained them."""

    mail: str = field(default_factory=lambda: f"canary.{uuid4().hex}@example.com")
    card: str = field(default_factory=lambda: card_number(random.SystemRandom()))
    answers: list[bytes] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    @property
    def spaced(self) -> str:
        return " ".join(self.card[at : at + 4] for at in range(0, 16, 4))

    def seen_in(self, text: bytes) -> bool:
        account = self.mail.partition("@")[0]
        return any(value.encode() in text for value in (account, self.card, self.spaced, self.spaced.replace(" ", "-")))

    def keep(self, reply: Reply) -> None:
        self.answers.append(str(reply).encode() + reply.body)
        if reply.status == 202:
            self.jobs.append(reply.json["jobId"])


def records_with(customer: Customer, value: Any) -> list[dict[str, Any]]:
    """Build records with the value in place of a hash, or in unknown fields."""
    ids = {"orderId": "o", "returnId": "r"}
    line = {"productId": "4556", "quantity": 1, "unitPrice": 1}
    return [
        customer.order(emailHash=value),
        customer.order(ccHash=value),
        customer.order(emailHash=value, ccHash=value, lineItems=[], dateTime="never"),
        customer.order(emailHash=[value], ccHash={"raw": value}),
        customer.order(**ids, emailHash=value),
        customer.order(id=..., **ids, ccHash=value),
        customer.order(email=value, nested={"deep": [value]}, lineItems=[]),
        customer.order(lineItems=[{**line, "quantity": 0, "ccHash": value, "note": value}]),
        customer.order(**{str(value): 1}, lineItems=[]),
        customer.order(lineItems=[{**line, "unitPrice": -1, str(value): value}]),
        customer.order(lineItems=[value]),
    ]


@pytest.fixture(scope="module")
async def planted(installation: Installation, session: aiohttp.ClientSession) -> PlantedData:
    customer, made = Customer(installation.base, session), PlantedData()
    for value in (made.mail, made.card, made.spaced, made.spaced.replace(" ", "-"), int(made.card)):
        bodies = records_with(customer, value)
        made.keep(await customer.send_with_retry(bodies, headers={"Idempotency-Key": uuid4().hex}))
        made.keep(
            await customer.send_with_retry(
                [customer.order(id=..., orderId="o", returnId="r", ccHash=value)], kind="returns"
            )
        )
        for body in bodies[:4]:
            made.keep(await customer.send_with_retry(body, user="u1"))
        made.keep(await customer.send_with_retry(json.dumps(bodies).encode()[:-1]))
        made.keep(await customer.send_with_retry(json.dumps([value]).encode()))
        made.keep(await customer.send_with_retry(bodies, mode=str(value)))
    for job in made.jobs:
        await customer.wait_for_job(job)
        made.keep(await customer.events(job, showAll="true"))
        for outcome in ("succeeded", "failed"):
            made.keep(await customer.records(job, outcome=outcome))
    return made


async def test_records_with_it_are_refused(planted: PlantedData) -> None:
    answers = b"".join(planted.answers)
    assert len(planted.jobs) >= 25
    assert answers.count(b"PII_NOT_HASHED") > 20
    assert b"[removed]" in answers


async def test_it_is_in_no_answer(planted: PlantedData) -> None:
    assert [answer for answer in planted.answers if planted.seen_in(answer)] == []


async def test_it_is_in_no_log_and_no_other_file(installation: Installation, planted: PlantedData) -> None:
    files = [path for path in installation.directory.rglob("*") if path.is_file()]
    assert [path for path in files if planted.seen_in(content(path))] == []


async def test_it_is_in_no_topic(installation: Installation, planted: PlantedData) -> None:
    topics = set()
    async for topic, record in records(installation.endpoints["kafka_bootstrap_servers"]):
        topics.add(topic)
        assert not planted.seen_in(record), topic
    assert {"orders.submitted.v1", "jobs.events.v1"} <= topics


async def test_it_is_in_no_document(installation: Installation, planted: PlantedData) -> None:
    for name, document in documents(installation.endpoints["mongodb_uri"]):
        assert not planted.seen_in(str(document).encode()), name


async def test_it_is_in_no_metric(
    installation: Installation, session: aiohttp.ClientSession, planted: PlantedData
) -> None:
    for name, addresses in installation.endpoints["services"].items():
        async with session.get(f"{addresses['operations']}/metrics") as answer:
            assert not planted.seen_in(await answer.read()), name
