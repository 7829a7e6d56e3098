"""Dead letters in a browser: a thousand of one reason counted and sent back, each once."""

import asyncio
from collections import Counter
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from playwright.async_api import Page, expect

from tests.browser.dead_letters import TOPIC, send_dead_letters
from tests.browser.page_cases import OPERATOR
from tests.browser.screen import Screens
from tests.e2e.installation import Installation

REASON, OTHER, COUNT = "browser-story", "browser-other", 1_000


def read_topic(bootstrap: str) -> list[tuple[bytes, dict[str, Any]]]:
    """Return value and headers of all records of the topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "browser-story", "enable.auto.commit": False})
    try:
        numbers = consumer.list_topics(TOPIC, timeout=20).topics[TOPIC].partitions
        ends = {number: consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=20) for number in numbers}
        left = sum(high - low for low, high in ends.values())
        consumer.assign([TopicPartition(TOPIC, number, low) for number, (low, _high) in ends.items()])
        found = []
        while left > 0:
            messages = consumer.consume(min(left, 1_000), timeout=10)
            assert messages, f"{left} records are missing"
            found += [(message.value() or b"", dict(message.headers() or ())) for message in messages]
            left -= len(messages)
        return found
    finally:
        consumer.close()


async def figure(page: Page, name: str) -> str:
    """Return a figure of the page."""
    return (await page.inner_text(f".figure:has(dt:text-is('{name}')) dd")).split("\n")[0]


async def test_a_thousand_dead_letters_of_one_reason_are_replayed_by_filter(
    screens: Screens, installation: Installation
) -> None:
    """The count of the dry run is true: exactly that many go back, through a restart, none twice."""
    bootstrap = installation.environment_of("auth")["KAFKA_BOOTSTRAP_SERVERS"]
    value = (await asyncio.to_thread(read_topic, bootstrap))[0][0]
    await asyncio.to_thread(send_dead_letters, bootstrap, REASON, COUNT, value)
    await asyncio.to_thread(send_dead_letters, bootstrap, OTHER, 20, value)
    async with screens.open(OPERATOR) as screen:
        page = screen.page
        await screen.open("/portal/operator/dead-letters")
        await page.fill("#f-reason", REASON)
        await page.click("button:has-text('Apply')")
        assert "1,000 dead letters" in " ".join((await page.inner_text("main")).split())
        await page.click("button:has-text('Count what matches')")
        await page.wait_for_url("**/portal/operator/replays/*")
        start = page.locator("button:has-text('Send back 1,000')")
        await expect(start).to_be_visible(timeout=60_000)
        assert await figure(page, "Sent back") == "0"
        await start.click()
        await page.wait_for_load_state()
        # Perhaps in the middle; what it has sent is in the topics.
        await asyncio.to_thread(installation.run, "restart", "operator")
        await page.reload()
        await expect(page.locator(".badge:has-text('Finished')")).to_be_visible(timeout=60_000)
        assert (await figure(page, "Go back"), await figure(page, "Sent back")) == ("1,000", "1,000")
        await screen.open("/portal/operator/audit")
        assert "Replay finished" in await page.inner_text("main")
    names = [headers.get("dlq.replayed-from") for _value, headers in await asyncio.to_thread(read_topic, bootstrap)]
    counts = Counter(name for name in names if name is not None)
    assert (len(counts), set(counts.values())) == (COUNT, {1})
