"""Records of other services' topics as events of the feed."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services import topics
from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schemas
from services.webhooks.domain.event import EventType, NewEvent, derive_id

# As `services/status` and `services/fulfilment` name their resources; `{apiKey}` is one of the site's keys.
JOB_PATH = "/common-status/v1/{apiKey}/job/"
ORDER_PATH = "/fulfilment/v1/orders/"
INVOICE_PATH = "/fulfilment/v1/invoices/"

_COUNTS = ("ordered", "delivered", "pending", "cancelled")
_ENDS = frozenset({"PARTIALLY_COMPLETED", "COMPLETED", "CANCELLED"})
_SCALE = Decimal(1).scaleb(-6)


class EventDecoder:
    """Decodes the records of the three topics."""

    def __init__(self, schemas: Schemas) -> None:
        self._readers: Mapping[str, tuple[AvroRecordReader, Callable[[Mapping[str, Any]], Sequence[NewEvent]]]] = {
            topic.name: (AvroRecordReader(schemas, str(topic.schema)), convert)
            for topic, convert in (
                (topics.JOBS_FINISHED, _job_finished),
                (topics.FULFILMENT_CODES, _codes_changed),
                (topics.FULFILMENT_INVOICES, _invoice_issued),
            )
        }

    def decode(self, topic: str, value: bytes | None) -> Sequence[NewEvent]:
        """Return the events that a record stands for. Raises `ValueError` for anything but a record of the topic."""
        reader, convert = self._readers[topic]
        return convert(reader.read(value))


def _job_finished(record: Mapping[str, Any]) -> Sequence[NewEvent]:
    job_id = record["jobId"]
    counts = {"total": record["total"], "failed": record["failed"], "success": record["succeeded"]}
    if record["unprocessed"]:
        counts["unprocessed"] = record["unprocessed"]
    data = {
        "jobId": job_id,
        "type": record["type"],
        "mode": record["mode"],
        "state": record["state"],
        "counts": counts,
        "links": {"job": JOB_PATH + job_id, "events": f"{JOB_PATH}{job_id}/events"},
    }
    return [_event(EventType.JOB_FINISHED, record["eventId"], record["site"], record["finishedAt"], data)]


def _codes_changed(record: Mapping[str, Any]) -> Sequence[NewEvent]:
    transaction_id, site, at_us = record["transactionId"], record["site"], record["at"]
    counts = {name: sum(line[name] for line in record["lines"]) for name in _COUNTS}
    order = ORDER_PATH + transaction_id
    data = {"transactionId": transaction_id, "status": record["status"], "counts": counts}
    events = []
    if counts["delivered"]:
        links = {"codes": f"{order}/codes"}
        events.append(_event(EventType.CODES_AVAILABLE, record["eventId"], site, at_us, {**data, "links": links}))
    if record["status"] in _ENDS:
        completed_id = derive_id(EventType.ORDER_COMPLETED, transaction_id)
        links = {"order": order}
        events.append(_event(EventType.ORDER_COMPLETED, completed_id, site, at_us, {**data, "links": links}))
    return events


def _invoice_issued(record: Mapping[str, Any]) -> Sequence[NewEvent]:
    invoice_id = record["invoiceId"]
    data = {
        "id": invoice_id,
        "number": record["number"],
        "kind": record["kind"],
        "total": _format_amount(record["total"]),
        "currency": record["currency"],
        "links": {"invoice": INVOICE_PATH + invoice_id},
    }
    return [_event(EventType.INVOICE_ISSUED, record["eventId"], record["site"], record["issuedAt"], data)]


def _event(type_: EventType, id_: str, site: int, at_us: int, data: Mapping[str, Any]) -> NewEvent:
    return NewEvent(id=id_, site=site, type=type_.value, time_us=at_us, data=data)


def _format_amount(unscaled: bytes) -> str:
    """Format an Avro decimal with at least two fraction digits, as the fulfilment API does."""
    amount = int.from_bytes(unscaled, "big", signed=True) * _SCALE
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"
