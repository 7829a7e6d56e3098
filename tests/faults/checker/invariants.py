"""The invariants I1 to I10 of docs/reliability.md, as functions of the ledger and of what was found afterwards."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.faults.checker.feed import feed
from tests.faults.checker.ledger import Evidence, Fate, Import, KafkaRecord, Ledger, Violation
from tests.faults.checker.sales import sales

MAX_END_S = 30.0
SUBMITTED = ("orders.submitted.v1", "returns.submitted.v1")
VALIDATED = ("orders.validated.v1", "returns.validated.v1")
DEAD = tuple(f"{topic}.dlq" for topic in SUBMITTED)
# Length of the beginnings by which secrets are searched first.
_PREFIX = 6
_CENT = Decimal("0.01")

Found = Iterator[Violation]


def check(ledger: Ledger, evidence: Evidence) -> list[Violation]:
    """Return all violations, at most one for each job, order or page and invariant."""
    return [found for checker in CHECKERS for found in checker(ledger, evidence)]


def conservation(ledger: Ledger, evidence: Evidence) -> Found:
    """I1: every record of a promised job has ended once, and as it should."""
    validated = {topic: _by_identity(evidence.of([topic])) for topic in VALIDATED}
    dead = _by_identity(evidence.of(DEAD))
    for job_id, sent in ledger.job_ids().items():
        found = evidence.jobs.get(job_id)
        if found is None:
            yield Violation("I1", f"job {job_id} was answered 2xx and does not exist")
            continue
        fates = list(sent.records.values())
        failed = [index for index, fate in enumerate(fates) if fate is not Fate.GOOD]
        counts = found["summary"]["job"]["baggage"]["records"]
        expected = {"total": len(fates), "failed": len(failed), "success": len(fates) - len(failed)}
        is_late = bool(counts.get("unprocessed")) and _was_continued_late(sent, evidence)
        # Jobs with deleted records are checked by `retention`.
        if is_late or any((job_id, index) in evidence.deleted for index in range(len(fates))):
            continue
        if counts != expected:
            yield Violation("I1", f"job {job_id} has {counts}, not {expected}")
            continue
        if problem := _indexes_differ(found["events"], fates):
            yield Violation("I1", f"job {job_id}: {problem}")
        for index, fate in enumerate(fates):
            published = {_kind(topic) for topic, identities in validated.items() if identities[job_id, index]}
            if fate is Fate.GOOD and published != {sent.kind}:
                yield Violation("I1", f"record {index} of job {job_id} succeeded and was published as {published}")
            if fate is not Fate.GOOD and published:
                yield Violation("I1", f"record {index} of job {job_id} failed and was published as valid")
            if (fate is Fate.POISON) != bool(dead.get((job_id, index))):
                yield Violation("I1", f"record {index} of job {job_id} is {fate}: dead letters do not agree")


def _was_continued_late(sent: Import, evidence: Evidence) -> bool:
    """Whether a request was sent again under its key after the job of the first attempt had expired.

    The records then have late outcomes, and the job stays as it ended.
    """
    return bool(sent.key) and sent.attempts[-1].answered_at - sent.attempts[0].sent_at >= evidence.job_deadline_s


def _indexes_differ(events: Sequence[Any], fates: Sequence[Fate]) -> str | None:
    """Compare the indexes that the events name with those of the records: each exactly once."""
    by_level = Counter((each["level"], each["attributes"].get("index")) for each in events)
    for index, fate in enumerate(fates):
        successes = by_level["DETAIL", index]
        failures = by_level["WARNING", index] + by_level["ERROR", index]
        if fate is Fate.GOOD and (successes, failures) != (1, 0):
            return f"record {index} has {successes} successes and {failures} faults"
        if fate is not Fate.GOOD and (successes, failures > 0) != (0, True):
            return f"record {index} is {fate} and has {successes} successes and {failures} faults"
    return None


def retention(ledger: Ledger, evidence: Evidence) -> Found:
    """F30: only deleted records may lack an outcome, and every one that does was reported as lost."""
    silent = 0
    for job_id, sent in ledger.job_ids().items():
        found = evidence.jobs.get(job_id)
        deleted = {index for index in range(len(sent.records)) if (job_id, index) in evidence.deleted}
        if found is None or not deleted:
            continue
        decided = {each["attributes"].get("index") for each in found["events"]}
        silent += len(deleted - decided)
        if missing := set(range(len(sent.records))) - decided - deleted:
            yield Violation("I1", f"records {sorted(missing)} of job {job_id} were not deleted and have no outcome")
    if silent > evidence.reported_lost:
        yield Violation(
            "I1", f"{silent} deleted records have no outcome, {evidence.reported_lost} are reported as lost"
        )


def no_ghosts(ledger: Ledger, evidence: Evidence) -> Found:
    """I2: a refused request leaves nothing; any other request's records are there at most once."""
    # An order and its return have the same id.
    jobs_by_record: dict[tuple[str, str], set[str]] = {}
    for record in evidence.of(SUBMITTED):
        if record.identity is not None:
            of_record = jobs_by_record.setdefault((_kind(record.topic), record.record_id), set())
            of_record.add(record.identity[0])
    repeats = {identity: count for identity, count in _by_identity(evidence.of(SUBMITTED)).items() if count > 1}
    for sent in ledger.imports:
        jobs = set().union(*(jobs_by_record.get((sent.kind, record_id), set()) for record_id in sent.records))
        yield from _ghosts_of(sent, jobs, repeats)


def _ghosts_of(sent: Import, jobs: set[str], repeats: Mapping[tuple[str, int], int]) -> Found:
    # A request with a key is one job however often it is sent; without a key, each attempt may be one.
    possible = [one for one in sent.attempts if not 400 <= one.status < 500]
    most = min(len(possible), 1) if sent.key or sent.direct_job_id else len(possible)
    if len(jobs) > most:
        yield Violation("I2", f"request {sent.number} has {len(jobs)} jobs after {most} attempts that may have one")
    promised = set(sent.job_ids)
    if sent.key and len(promised) > 1:
        yield Violation("I2", f"request {sent.number} was promised {len(promised)} jobs under one key")
    if not sent.key:
        for job_id, index in sorted(identity for identity in repeats if identity[0] in jobs):
            yield Violation("I2", f"record {index} of job {job_id} was appended {repeats[job_id, index]} times")
            break


def end(ledger: Ledger, evidence: Evidence) -> Found:
    """I3: every job ends: a promised one soon after the last fault, any other by its deadline."""
    for job_id in ledger.job_ids():
        ended_at = evidence.ended_at.get(job_id)
        if ended_at is None or ended_at - evidence.healed_at > MAX_END_S:
            yield Violation("I3", f"job {job_id} was answered 2xx and has not ended {MAX_END_S:.0f} s after healing")
    for job_id, found in evidence.jobs.items():
        if found is not None and not found["summary"]["job"]["terminal"]:
            yield Violation("I3", f"job {job_id} has not ended by its deadline")


def history(ledger: Ledger, evidence: Evidence) -> Found:
    """I4: pages that were read while a job was written are a beginning of its events, without gap or repeat."""
    for walk in ledger.walks:
        found = evidence.jobs.get(walk.job_id)
        if found is None:
            if walk.events:
                yield Violation("I4", f"job {walk.job_id} was shown and does not exist")
            continue
        final = [each["statusId"] for each in found["events"]]
        if walk.events != final[: len(walk.events)]:
            first = next(
                n for n, (seen, at_last) in enumerate(zip(walk.events, [*final, ""], strict=False)) if seen != at_last
            )
            yield Violation("I4", f"pages of job {walk.job_id}: event {first} is another one at last")
    tagged: dict[tuple[str, str], bytes] = {}
    for page in ledger.pages:
        if page.etag and tagged.setdefault((page.url, page.etag), page.body) != page.body:
            yield Violation("I4", f"two bodies of {page.url} have the entity tag {page.etag}")
    yield from _page_sizes(ledger)
    for job_id, found in evidence.jobs.items():
        ids = [each["statusId"] for each in found["events"]] if found else []
        if len(set(ids)) < len(ids):
            yield Violation("I4", f"job {job_id} has an event twice")


def _page_sizes(ledger: Ledger) -> Found:
    """A page that is the whole of a job's events has as many as its own summary says."""
    for page in ledger.pages:
        found = json.loads(page.body)
        if "&page=" in page.url or found.get("pagination", {}).get("nextPageToken") is not None:
            continue
        told, shown = found["summary"]["total-events"], len(found["result"])
        if told != shown:
            yield Violation("I4", f"{page.url} shows {shown} events under a summary of {told}")
            return


def monotone(ledger: Ledger, evidence: Evidence) -> Found:
    """I9: an ended job stays as it is, and no count goes down."""
    del evidence
    last: dict[str, Any] = {}
    for look in sorted(ledger.looks, key=lambda look: look.sent_at):
        before = last.get(look.job_id)
        if before is not None and before.answered_at <= look.sent_at:
            shrunk = any(now < then for now, then in zip(look.counts, before.counts, strict=True))
            if before.terminal and (not look.terminal or look.counts != before.counts):
                yield Violation("I9", f"job {look.job_id} had ended with {before.counts} and has {look.counts}")
            elif shrunk or look.events < before.events:
                yield Violation("I9", f"job {look.job_id} went back from {before.counts} to {look.counts}")
        if before is None or look.answered_at >= before.answered_at:
            last[look.job_id] = look


def codes(ledger: Ledger, evidence: Evidence) -> Found:
    """I5: a code belongs to one transaction, no more are handed out than ordered, and shown ones stay."""
    owner: dict[str, str] = {}
    for transaction_id, found in evidence.codes.items():
        for code in found.values():
            if owner.setdefault(code, transaction_id) != transaction_id or code not in ledger.loaded_codes:
                yield Violation("I5", f"a code of transaction {transaction_id} was sold twice or made up")
        if len(set(found.values())) < len(found):
            yield Violation("I5", f"transaction {transaction_id} has a code twice")
        ordered = evidence.transactions[transaction_id]["counts"]["ordered"]
        if len(found) > ordered:
            yield Violation("I5", f"transaction {transaction_id} has {len(found)} codes for {ordered} units")
        delivered = evidence.transactions[transaction_id]["counts"]["delivered"]
        if len(found) != delivered:
            yield Violation("I5", f"transaction {transaction_id} has {len(found)} codes and counts {delivered}")
    yield from _shown_codes(ledger, evidence)


def _shown_codes(ledger: Ledger, evidence: Evidence) -> Found:
    for order in ledger.orders:
        for transaction_id in order.transaction_ids:
            now = evidence.codes.get(transaction_id, {})
            for seen in order.seen:
                if not seen.items() <= now.items():
                    yield Violation("I5", f"transaction {transaction_id} had codes that it does not have any more")
                    break


def money(ledger: Ledger, evidence: Evidence) -> Found:
    """I6: each transaction is on one purchase order, each closed one has one invoice, and the sums agree."""
    for order in ledger.orders:
        if len(order.transaction_ids) > 1:
            yield Violation("I6", f"order {order.number} was promised {len(order.transaction_ids)} transactions")
        for transaction_id in order.transaction_ids:
            if transaction_id not in evidence.transactions:
                yield Violation("I6", f"transaction {transaction_id} was answered 2xx and does not exist")
    numbers = Counter(one["clientOrderNumber"] for one in evidence.listed_transactions)
    for number, count in numbers.items():
        if number is not None and count > 1:
            yield Violation("I6", f"order {number} was placed {count} times")
    yield from _purchase_orders(evidence)


def announcements(ledger: Ledger, evidence: Evidence) -> Found:
    """I2 and I6: what exists is announced to other teams, and what does not is not."""
    del ledger
    for topic, existing in (
        ("fulfilment.transactions.v1", set(evidence.transactions)),
        ("fulfilment.invoices.v1", {one["purchaseOrderId"] for one in evidence.invoices}),
    ):
        announced = {record.key.decode() for record in evidence.records[topic]}
        for missing in sorted(announced - existing):
            yield Violation("I2", f"{missing} is announced on {topic} and does not exist")
        for silent in sorted(existing - announced):
            yield Violation("I6", f"{silent} exists and is not announced on {topic}")


def _purchase_orders(evidence: Evidence) -> Found:
    days = Counter((one["businessDate"], one["currency"]) for one in evidence.purchase_orders)
    yield from (Violation("I6", f"{day} has {count} purchase orders") for day, count in days.items() if count > 1)
    places = Counter(each["transactionId"] for one in evidence.purchase_orders for each in one["transactions"])
    for transaction_id in evidence.transactions:
        if places[transaction_id] != 1:
            yield Violation("I6", f"transaction {transaction_id} is on {places[transaction_id]} purchase orders")
    labels = Counter(one["number"] for one in evidence.invoices)
    yield from (Violation("I6", f"{count} invoices have number {n}") for n, count in labels.items() if count > 1)
    for order in evidence.purchase_orders:
        invoices = [one for one in evidence.invoices if one["purchaseOrderId"] == order["id"]]
        bills = [one for one in invoices if one["kind"] == "INVOICE"]
        expected = int(order["state"] == "CLOSED" and bool(order["transactions"]))
        if order["state"] != "CLOSING" and len(bills) != expected:
            yield Violation("I6", f"purchase order {order['id']} is {order['state']} and has {len(bills)} invoices")
        for bill in bills:
            yield from _sums(order, bill)


def _sums(order: Any, bill: Any) -> Found:
    """The invoice has every transaction and unit of the purchase order, at its price."""
    if bill["transactions"] != len(order["transactions"]):
        message = f"invoice {bill['number']} has {bill['transactions']} of {len(order['transactions'])} transactions"
        yield Violation("I6", message)
    ordered: Counter[tuple[str, str]] = Counter()
    for transaction in order["transactions"]:
        for line in transaction["lines"]:
            ordered[line["sku"], line["unitPrice"]] += line["quantity"]
    billed = {(line["sku"], line["unitPrice"]): line for line in bill["lines"]}
    if {key: line["ordered"] for key, line in billed.items()} != dict(ordered):
        yield Violation("I6", f"invoice {bill['number']} and its purchase order have other quantities")
    total = sum((Decimal(line["unitPrice"]) * line["quantity"] for line in bill["lines"]), Decimal(0))
    if abs(total - Decimal(bill["total"])) >= _CENT:
        yield Violation("I6", f"invoice {bill['number']} amounts to {bill['total']}, its lines to {total}")


def secrets(ledger: Ledger, evidence: Evidence) -> Found:
    """I10: no error and no header of a dead letter has a secret."""
    texts = list(ledger.errors)
    for topic, records in evidence.records.items():
        if topic.endswith(".dlq"):
            texts += [value for record in records for name, value in record.headers.items() if name.startswith("dlq.")]
    beginnings = {secret[:_PREFIX] for secret in ledger.secrets}
    seen = tuple(one for one in beginnings if any(one in text for text in texts))
    for secret in ledger.secrets:
        if secret.startswith(seen) and any(secret in text for text in texts):
            yield Violation("I10", "a planted secret is in an error or in a dead letter's header")
            return


def surprises(ledger: Ledger, evidence: Evidence) -> Found:
    """Answers that no client should get, whatever is broken."""
    del evidence
    for text in ledger.surprises:
        invariant, _, message = text.partition(": ")
        yield Violation(invariant, message)


CHECKERS: Sequence[Callable[[Ledger, Evidence], Found]] = (
    conservation,
    retention,
    no_ghosts,
    end,
    history,
    monotone,
    codes,
    money,
    announcements,
    sales,
    feed,
    secrets,
    surprises,
)


def _by_identity(records: Sequence[KafkaRecord]) -> Counter[tuple[str, int]]:
    return Counter(record.identity for record in records if record.identity is not None)


def _kind(topic: str) -> str:
    """What a topic has: "orders" or "returns"."""
    return topic.partition(".")[0]
