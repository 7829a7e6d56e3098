"""Job events, as tests need them."""

import json
from collections.abc import Sequence

from services.jobs.events import (
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

JOB = JobKey(608, "63d13c0d-0167-11ee-b91c-b9178e343914")
CREATED_US = 1_685_725_406_298_010


def a_header(total: int = 2, *, key: JobKey = JOB, mode: str = "offline", type_: str = "orders") -> JobHeader:
    return JobHeader(key, total, CREATED_US, mode, type_)


def no_product(product_id: str = "product3") -> Fault:
    message = f"No product is found for product ID {product_id}"
    return Fault("PRODUCT_NOT_FOUND", "/lineItems/0/productId", message, "WARNING", product_id, retryable=False)


def a_failure(index: int, *faults: Fault, order_id: str | None = "", mode: str = "offline") -> Failure:
    order_id = f"o{index}" if order_id == "" else order_id
    return Failure(index, order_id, None, mode, list(faults or (no_product(),)), f'{{"id":"o{index}"}}')


def a_run(outcomes: str, first: int = 0, failures: Sequence[Failure] | None = None) -> OutcomeRun:
    made = [a_failure(first + at) for at, outcome in enumerate(outcomes) if outcome == "F"]
    rows = [None if outcome == "." else [f"o{first + at}", f"u{first + at}"] for at, outcome in enumerate(outcomes)]
    return OutcomeRun(first, outcomes, json.dumps(rows), made if failures is None else failures)


def opened(header: JobHeader | None = None, refused: OutcomeRun | None = None, *, after_ms: int = 1) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Opened(refused))


def judged(run: OutcomeRun, header: JobHeader | None = None, *, after_ms: int = 15) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Judged(run))


def expired(header: JobHeader | None = None, *, after_ms: int = 900_000) -> JobEvent:
    return JobEvent(header or a_header(), CREATED_US + after_ms * 1000, Expired())
