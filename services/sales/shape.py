"""Which fields an order and a return have, and which of the two an object is meant to be."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from services.sales.fields import MAX_LINES
from services.sales.redaction import displayable_name


class FieldNames(NamedTuple):
    """The names of a record's fields, and those of its lines."""

    fields: frozenset[str]
    line_fields: frozenset[str]


_SALE = frozenset(
    {
        "channel",
        "userId",
        "dateTime",
        "mode",
        "paymentMethod",
        "emailHash",
        "ccHash",
        "regionId",
        "storeId",
        "segmentId",
        "segmentIds",
        "segmentNames",
        "currency",
        "lineItems",
    }
)
_LINE = frozenset({"productId", "skuId", "quantity", "unitPrice"})
ORDER = FieldNames(_SALE | {"id", "couponCode", "couponValue"}, _LINE)
RETURN = FieldNames(_SALE | {"orderId", "returnId", "returnValue"}, _LINE | {"creditType"})


def is_present(values: Mapping[str, Any], name: str) -> bool:
    """Whether a field is there; null is absent."""
    return values.get(name) is not None


def is_return(values: Mapping[str, Any]) -> bool:
    """Whether an object on an orders path is a return: the ids of one, and no order's id."""
    return is_present(values, "returnId") and is_present(values, "orderId") and not is_present(values, "id")


def is_ambiguous(values: Mapping[str, Any]) -> bool:
    """Whether an object has the id of an order and that of a return."""
    return is_present(values, "id") and is_present(values, "returnId")


def unknown_fields(values: Mapping[str, Any], shape: FieldNames) -> Iterator[str]:
    """The pointers of fields that mean nothing, fit to be shown to the sender."""
    for name in values:
        if name not in shape.fields:
            yield f"/{_escaped(name)}"
    lines = values.get("lineItems")
    for position, line in enumerate(lines[:MAX_LINES] if isinstance(lines, list) else ()):
        for name in line if isinstance(line, dict) else ():
            if name not in shape.line_fields:
                yield f"/lineItems/{position}/{_escaped(name)}"


def _escaped(name: str) -> str:
    return displayable_name(name).replace("~", "~0").replace("/", "~1")
