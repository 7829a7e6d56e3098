"""The codecs of the schemas that ingest and validator share."""

from collections.abc import Mapping
from typing import Any

from services.avro.codec import Codec
from services.jobs.events import JobRef
from services.sales.records import Order, OrderLine, Return, ReturnLine


def order_codec(definition: Mapping[str, Any], *, prefix: bytes = b"") -> Codec[Order]:
    """Reads and writes orders; `definition` is the schema as parsed JSON."""
    return Codec(definition, _types(Order, OrderLine, JobRef), prefix=prefix)


def return_codec(definition: Mapping[str, Any], *, prefix: bytes = b"") -> Codec[Return]:
    """Reads and writes returns."""
    return Codec(definition, _types(Return, ReturnLine, JobRef), prefix=prefix)


def _types(*types: type) -> dict[str, type]:
    return {kind.__name__: kind for kind in types}
