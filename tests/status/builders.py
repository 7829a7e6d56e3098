"""Profiles and pages, as tests need them."""

from collections.abc import Iterable

import msgspec

from services.jobs.events import JobKey
from services.status.domain.block import Block
from services.status.domain.job import Job
from services.status.domain.page import EventsPageBuilder, EventsRequest, Page
from services.status.domain.profile import JobProfile, SiteProfile
from tests.jobs.events import JOB, a_header

DEMO_SITE = SiteProfile(1078, "omnichannel-api/qa", "qa")

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def a_profile(total: int = 2, *, key: JobKey = JOB, type_: str = "orders") -> JobProfile:
    return JobProfile(a_header(total, key=key, type_=type_), DEMO_SITE)


def split_page(page: Page) -> list[str]:
    """A page's events, one by one."""
    found = [bytes(raw).decode() for raw in _ELEMENTS.decode(f"[{','.join(page.fragments)}]")]
    assert len(found) == page.count
    return found


def build_events_page(job: Job, blocks: Iterable[Block], request: EventsRequest) -> Page:
    """Build the page from the blocks that it needs."""
    builder = EventsPageBuilder(job, request)
    for block in sorted(blocks, key=lambda block: block.first, reverse=request.descending):
        builder.add_block(block)
    return builder.build()
