"""Orders and returns in Kafka: the codecs of their schemas, their keys and ids."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID, uuid5

from services.avro.codec import Codec
from services.avro.varints import encode_varint
from services.jobs.events import JobHeader, JobRef
from services.sales.records import Order, OrderLine, Return, ReturnLine

T = TypeVar("T", Order, Return)


class RecordCodec(Codec[T]):
    """Encodes and decodes orders, or returns."""

    def __init__(self, definition: Mapping[str, Any], types: Mapping[str, type], **options: Any) -> None:
        super().__init__(definition, types, **options)
        (job,) = [field for field in definition["fields"] if field["name"] == "job"]
        # Of a job, the header has the same fields as a reference.
        self._write_after_index = Codec[JobRef](job["type"][1], types).text_writer(after="index")

    def job_encoder(self, header: JobHeader, *, is_ascii: bool = False) -> Callable[[T, int], bytes]:
        """Return an encoder of the records of a job, each with its index; it ignores their own `site` and `job`.

        The bytes that all records of the job begin with are made once. With `is_ascii`, all strings of the records must
        be ASCII.
        """
        job_id = f"{encode_varint(len(header.job_id))}{header.job_id}"
        before_index = f"{self.prefix}{encode_varint(header.site)}\2{job_id}"
        return self.numbered_encoder(before_index, self._write_after_index(header), after="job", is_ascii=is_ascii)


def order_codec(definition: Mapping[str, Any], **options: Any) -> RecordCodec[Order]:
    """Return the codec of orders; `definition` is the schema as parsed JSON. `options` are those of `Codec`."""
    return RecordCodec(definition, _by_name(Order, OrderLine, JobRef), **options)


def return_codec(definition: Mapping[str, Any], **options: Any) -> RecordCodec[Return]:
    """Return the codec of returns; see `order_codec`."""
    return RecordCodec(definition, _by_name(Return, ReturnLine, JobRef), **options)


def build_key(*parts: str | int | None) -> bytes:
    """Return the key of a Kafka record: its parts joined by `|`; an absent part is empty."""
    return "|".join(["" if part is None else _escape(str(part)) for part in parts]).encode()


def key_encoder(site: int) -> Callable[[str | None, str], bytes]:
    """Return a function that builds the keys of a job's records as `build_key` does, from channel and order id."""
    before_ids: dict[str | None, str] = {}

    def encode(channel: str | None, order_id: str) -> bytes:
        before_id = before_ids.get(channel)
        if before_id is None:
            before_id = before_ids[channel] = build_key(site, channel, "").decode()
        return f"{before_id}{_escape(order_id)}".encode()

    return encode


def derive_record_id(job_id: str, *, index: int) -> str:
    """Return the id of a record of a job, the same however often it is published. `job_id` is a UUID."""
    return str(uuid5(UUID(job_id), str(index)))


def _by_name(*types: type) -> dict[str, type]:
    return {type_.__name__: type_ for type_ in types}


def _escape(part: str) -> str:
    if "%" in part or "|" in part:
        return part.replace("%", "%25").replace("|", "%7C")
    return part
