"""Hypothesis strategies: canonical records of all kinds, and JSON that is nearly an order."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from services.avro import schema as avro
from services.jobs.events import Expired, Failure, Fault, JobRef, Judged, Opened, OutcomeRun
from services.sales.faults import FaultCode
from services.sales.records import Order, OrderLine, Return, ReturnLine
from tests.sales.samples import NOW_US, FlatJobEvent, definition

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)
# What the reference library can write: years 1 to 9999.
STAMPS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999) | st.just(NOW_US)
AMOUNTS = st.integers(-(10**18) + 1, 10**18 - 1).map(lambda number: Decimal(number).scaleb(-6))
MODES = st.sampled_from(["offline", "online"])
KINDS = st.sampled_from(["orders", "returns"])


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


# Records are built from the Avro schemas: with any value that their types hold, whatever the rules say.
_PRIMITIVES: dict[avro.AvroType, st.SearchStrategy[Any]] = {
    avro.Primitive.STRING: TEXTS,
    avro.Primitive.INT: INTS,
    avro.Primitive.LONG: LONGS,
    avro.Primitive.TIMESTAMP_MICROS: STAMPS,
    avro.Primitive.DECIMAL: AMOUNTS,
}
_STRUCTS = {struct.__name__: struct for struct in (Order, OrderLine, Return, ReturnLine, JobRef)}


def _any_value(type_: avro.AvroType) -> st.SearchStrategy[Any]:
    match type_:
        case avro.Enum(_, symbols):
            return st.sampled_from(symbols)
        case avro.Optional(inner):
            return _maybe(_any_value(inner))
        case avro.Array(items):
            return st.lists(_any_value(items), max_size=3)
        case avro.RecordType(name, fields):
            return st.builds(_STRUCTS[name], **{field.name: _any_value(field.type) for field in fields})
    return _PRIMITIVES[type_]


ORDERS = _any_value(avro.parse_schema(definition("order")))
RETURNS = _any_value(avro.parse_schema(definition("return")))
FAULTS = st.builds(
    Fault,
    st.sampled_from([code.value for code in FaultCode]),
    TEXTS,
    TEXTS,
    st.sampled_from(["WARNING", "ERROR"]),
    _maybe(TEXTS),
    st.booleans(),
)
FAILURES = st.builds(Failure, INTS, _maybe(TEXTS), _maybe(TEXTS), MODES, st.lists(FAULTS, max_size=3), _maybe(TEXTS))
RUNS = st.builds(OutcomeRun, INTS, TEXTS, TEXTS, st.lists(FAILURES, max_size=3))
EVENTS = st.builds(
    FlatJobEvent,
    LONGS,
    TEXTS,
    INTS,
    STAMPS,
    MODES,
    KINDS,
    STAMPS,
    st.builds(Opened, _maybe(RUNS)) | st.builds(Judged, RUNS) | st.builds(Expired),
)

NUMBERS = (
    st.integers(-3, 3)
    | st.integers()
    | st.sampled_from([10**13, 2**31, 2**63, 0.5, 2.0, 256.678, 1e-7, 1e300])
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = (
    st.none()
    | st.booleans()
    | NUMBERS
    | TEXTS
    | st.sampled_from(["", "a\x00", "x" * 129, "1.50", "a@b", "4111111111111111", "uſd", "Online", "eur", "44, 55"])
    | st.sampled_from(["2022-04-25T12:21:55+09:00", "2022-04-25T12:21:55", "2999-04-25T12:21:55Z", "x"])
)
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


def _damaged(usual: dict[str, Any], extra: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A faultless object with a few members changed, added or taken away."""
    changes = st.dictionaries(st.sampled_from([*usual, *extra]), SCALARS | ANYTHING, max_size=3)
    gone = st.sets(st.sampled_from(sorted(usual)), max_size=1)
    return st.builds(
        lambda changed, without: {k: v for k, v in (usual | changed).items() if k not in without}, changes, gone
    )


_LINE = {"productId": "4556", "quantity": 2, "unitPrice": 256.678}
JSON_LINES = st.lists(_damaged(_LINE, ["skuId", "creditType", "colour"]), max_size=3) | st.just([_LINE])
_OWN = {"userId": "u1", "dateTime": "2022-04-25T12:21:55+09:00", "lineItems": [_LINE]}
_SALE = ["channel", "mode", "paymentMethod", "emailHash", "ccHash", "regionId", "storeId", "segmentId", "segmentIds"]
_MORE = [*_SALE, "segmentNames", "currency", "couponCode", "couponValue", "returnValue", "unknown"]
JSON_RECORDS = st.builds(
    lambda record, lines: record | {"lineItems": lines} if "lineItems" in record else record,
    _damaged({"id": "1"} | _OWN, [*_MORE, "orderId", "returnId"])
    | _damaged({"orderId": "1", "returnId": 2} | _OWN, [*_MORE, "id"]),
    JSON_LINES,
)
