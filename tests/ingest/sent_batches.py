"""Reads batches back, as a publisher hands them to its producer."""

from collections.abc import Sequence

from services.chassis.kafka.producer import ProducerRecord
from services.chassis.kafka.record_format import read_records


def decode_batch(records: Sequence[bytes]) -> list[ProducerRecord]:
    """Decode the records of a batch, and check that they are numbered."""
    data = b"".join(records)
    read = list(read_records(data, len(records), base_offset=0, base_timestamp=0, append_timestamp=None))
    assert [record.offset for record in read] == list(range(len(records)))
    return [ProducerRecord(record.key, record.value, record.headers) for record in read]
