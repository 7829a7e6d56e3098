"""Job events and sites, as tests need them."""

import json
from collections.abc import Sequence

import msgspec

from services.status.domain.facts import (
    Expired,
    Failure,
    Fault,
    JobEvent,
    JobHeader,
    JobKey,
    Judged,
    Opened,
    OutcomeRun,
)
from services.status.domain.page import Page
from services.status.domain.profile import JobProfile, SiteProfile

JOB = JobKey(608, "63d13c0d-0167-11ee-b91c-b9178e343914")
CREATED_US = 1_685_725_406_298_010
DEMO_SITE = SiteProfile(1078, "omnichannel-api/qa", "qa")


def a_header(total: int = 2, *, key: JobKey = JOB, mode: str = "offline", type_: str = "orders") -> JobHeader:
    return JobHeader(key, total, CREATED_US, mode, type_)


def a_profile(total: int = 2, *, key: JobKey = JOB, type_: str = "orders") -> JobProfile:
    return JobProfile(a_header(total, key=key, type_=type_), DEMO_SITE)


def no_product(product_id: str = "product3") -> Fault:
    message = f"No product is found for product ID {product_id}"
    return Fault("PRODUCT_NOT_FOUND", "/lineItems/0/productId", message, "WARNING", product_id, retryable=False)


def a_failure(index: int, *faults: Fault, order_id: str | None = "", mode: str = "offline") -> Failure:
    order_id = f"o{index}" if order_id == "" else order_id
    return Failure(index, order_id, None, mode, list(faults or (no_product(),)), f'{{"id":"o{index}"}}')


def a_run(letters: str, first: int = 0, failures: Sequence[Failure] | None = None) -> OutcomeRun:
    made = [a_failure(first + at) for at, letter in enumerate(letters) if letter == "F"]
    rows = [None if letter == "." else [f"o{first + at}", f"u{first + at}"] for at, letter in enumerate(letters)]
    return OutcomeRun(first, letters, json.dumps(rows), made if failures is None else failures)


def opened(header: JobHeader | None = None, refused: OutcomeRun | None = None, *, after_ms: int = 1) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Opened(refused))


def judged(run: OutcomeRun, header: JobHeader | None = None, *, after_ms: int = 15) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Judged(run))


def expired(header: JobHeader | None = None, *, after_ms: int = 900_000) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Expired())


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def split_page(page: Page) -> list[str]:
    """A page's events, each by itself."""
    found = [bytes(raw).decode() for raw in _ELEMENTS.decode(f"[{','.join(page.fragments)}]")]
    assert len(found) == page.count
    return found
