"""Records that are judged without being imported: what ingest asks the validator, the answer, and both combined."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from services.jobs.events import Fault
from services.sales.batch import Batch

PATH = "/internal/v1/verdicts"
CONTENT_TYPE = "application/msgpack"


class VerdictRequest(Struct, frozen=True):
    """Records of one kind, orders or returns: Avro values, exactly as they would be submitted."""

    kind: str
    values: Sequence[bytes]


class VerdictResponse(Struct, frozen=True):
    """The faults of each record, none for a valid one; and the state of the catalogue that they were judged by.

    `catalogue_as_of_ms` is the time of the newest change that was taken into account; None for an empty catalogue.
    """

    faults: Sequence[Sequence[Fault]]
    catalogue_as_of_ms: int | None


_encode = msgspec.msgpack.Encoder().encode
_REQUESTS = msgspec.msgpack.Decoder(VerdictRequest)
_RESPONSES = msgspec.msgpack.Decoder(VerdictResponse)


def encode_message(message: VerdictRequest | VerdictResponse) -> bytes:
    """Return the body of a request or a response."""
    return _encode(message)


def decode_request(body: bytes) -> VerdictRequest:
    """Return the request; raises `ValueError`."""
    return _REQUESTS.decode(body)


def decode_response(body: bytes) -> VerdictResponse:
    """Return the response; raises `ValueError`."""
    return _RESPONSES.decode(body)


class RecordVerdict(Struct, frozen=True):
    """The outcome that importing a record would have; it is valid without faults. Ids that are invalid are None."""

    index: int
    order_id: str | None
    return_id: str | None
    user_id: str | None
    faults: Sequence[Fault]


def list_verdicts(batch: Batch, faults: Sequence[Sequence[Fault]]) -> list[RecordVerdict]:
    """Return the verdict on each record of a batch, by index; `faults` are those of its accepted records, in order."""
    judged = [
        RecordVerdict(index, record.order_id, record.return_id, record.user_id, found)
        for (index, record), found in zip(batch.accepted, faults, strict=True)
    ]
    rejected = [
        RecordVerdict(record.index, record.order_id, record.return_id, record.user_id, record.faults)
        for record in batch.rejected
    ]
    return sorted([*judged, *rejected], key=lambda verdict: verdict.index)
