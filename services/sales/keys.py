"""Keys of Kafka records, and ids that are derived rather than drawn."""

from uuid import UUID, uuid5


def build_key(*parts: str | int | None) -> bytes:
    """The parts of a key joined by `|`; an absent part is empty."""
    return "|".join(["" if part is None else _escaped(str(part)) for part in parts]).encode()


def derive_record_id(job_id: str, *, index: int) -> str:
    """The id of a record of a job: the same however often it is published. `job_id` is a UUID."""
    return str(uuid5(UUID(job_id), str(index)))


def _escaped(part: str) -> str:
    if "%" in part or "|" in part:
        return part.replace("%", "%25").replace("|", "%7C")
    return part
