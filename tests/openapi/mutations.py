"""Slightly or entirely invalid requests to the import API: valid ones, mutated with a seeded generator."""

import gzip
import json
import random
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.ingest.fakes import a_return, order

BASE = "/omnichannel/api/v1"
NAMES = ("orderId", "returnId", "id", "mode", "segmentId", "segmentIds", "ccHash", "regionId", "couponValue")
KINDS = ("orders", "returns")
# Values that break parsers.
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**30,
    10**4000,
    0.1,
    -0.0,
    1e15,
    1e-9,
    "",
    " ",
    "0",
    "-1",
    "1e5",
    "1_0",
    "NaN",
    "Infinity",
    "1.1234567",
    "9" * 13,
    "a" * 128,
    "a" * 129,
    "a" * 257,
    "a" * 5000,
    "é",
    "日本",
    "\u0000",
    "\n",
    "\u007f",
    "\ufeff",
    "\u202e",
    "😀",
    "|",
    "%",
    "a|b%c",
    "me@example.com",
    "4111 1111 1111 1111",
    "2024-05-01T10:00:00Z",
    "2024-05-01",
    "2024-02-30T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "2024-05-01T10:00:00",
    "20240501T100000Z",
    "USD",
    "usd",
    "XXX",  # ISO 4217: no currency
    "online",
    "OFFLINE",
    "both",
    [],
    {},
    [None],
    [[]],
    [1, "2"],
    {"a": {}},
)
# JSON that no encoder produces.
RAW_JSON_TEXTS = (
    b"1e400",
    b"-1e-400",
    b"1E+99999999999",
    b"NaN",
    b"Infinity",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xff"',
    b"'x'",
    b"nul",
    b"9" * 5000,
    b"[" * 70 + b"]" * 70,
    b'"\\u0000"',
    b'{"a":1,"a":2}',
    b"0.0000000000000000000000001",
    b"1.00000000",
    b"-0",
)
TAILS = (b" ", b"\n", b"]", b" }", b"\xc2\xa0]", b",", b"x", b"[]", b"\x00", b"//")
TYPES = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "text/xml",
    "",
    "application/json; charset=utf-16",
    "application/a+json",
    "multipart/form-data",
)
CODINGS = ("gzip", "identity", "br", "gzip, gzip", "GZIP", "")
MODES = (
    "?mode=online",
    "?mode=OFFLINE",
    "?Mode=online",
    "?mode=",
    "?mode=x",
    "?mode=online&mode=offline",
    "?a=b",
    "?mode=%ff",
    "?%6dode=online",
)
USERS = ("u1", "u1", "a/b", "%", "é", "{x}", "..", " ", "a" * 256, "a" * 257, "\n", "a+b")
TOKENS = ("orders", "returns", "neither", "other", "bad", "a b", "good”", "")


@dataclass(slots=True)
class MutatedRequest:
    """A request, and the path template of its operation."""

    method: str
    path: str
    template: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_chunked: bool = False


def random_request(chance: random.Random, corpus: list[Any]) -> MutatedRequest:
    """Generate a request."""
    kind, single = chance.choice(KINDS), chance.random() < 0.4
    api_key = "12345" if chance.random() < 0.95 else chance.choice(["67890", "a%2Fb", "nobody", "%ff", "%00"])
    path, template = f"{BASE}/{api_key}/{kind}", f"{BASE}/{{apiKey}}/{kind}"
    if single:
        path, template = f"{path}/users/{quote(chance.choice(USERS), safe='')}", f"{template}/users/{{userId}}"
    body, coding = _encode(chance, _text(chance, _value(chance, corpus, kind)))
    headers = {
        "Authorization": f"Bearer {chance.choice(TOKENS) if chance.random() < 0.05 else 'good'}",
        "Content-Type": chance.choice(TYPES) if chance.random() < 0.1 else "application/json",
    }
    declared = coding or (chance.choice(CODINGS) if chance.random() < 0.1 else None)
    if declared is not None:
        headers["Content-Encoding"] = declared
    if chance.random() < 0.1:
        headers["Idempotency-Key"] = chance.choice(["k", "x" * 255, "x" * 256, "é", str(chance.random())])
    if chance.random() < 0.1:
        headers["X-Request-Id"] = chance.choice(["r", "r" * 129, "<", "é"])
    if chance.random() < 0.1:
        headers["traceparent"] = chance.choice(["00-" + "1" * 32 + "-" + "2" * 16 + "-01", "x"])
    return MutatedRequest(
        "PUT" if single else "POST",
        path + (chance.choice(MODES) if chance.random() < 0.3 else ""),
        template,
        body,
        headers,
        chance.random() < 0.1,
    )


def _value(chance: random.Random, corpus: list[Any], kind: str) -> Any:
    if corpus and chance.random() < 0.3:
        value = deepcopy(chance.choice(corpus))
    else:
        count = chance.choice([1, 1, 1, 2, 3, 5, 20, 100, 101])
        make = a_return if (kind == "returns") == (chance.random() < 0.9) else order
        value = [make(**({"returnId": f"r{n}"} if make is a_return else {"id": f"o{n}"})) for n in range(count)]
        if count == 1 and chance.random() < 0.5:
            value = value[0]
    for _ in range(chance.choice([0, 1, 1, 2, 4])):
        value = _mutate(chance, value)
    return value


def _mutate(chance: random.Random, value: Any) -> Any:
    """Return the value with one node replaced, removed, duplicated, or given a sibling."""
    if isinstance(value, list) and value and chance.random() < 0.9:
        return _mutate_list(chance, list(value))
    if isinstance(value, dict) and value and chance.random() < 0.95:
        return _mutate_object(chance, dict(value))
    return chance.choice(ODD_VALUES)


def _mutate_list(chance: random.Random, value: list[Any]) -> list[Any]:
    at = chance.randrange(len(value))
    if chance.random() < 0.05:
        value.insert(at, deepcopy(value[at]))
    elif chance.random() < 0.05:
        del value[at]
    else:
        value[at] = _mutate(chance, value[at])
    return value


def _mutate_object(chance: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    name = chance.choice(sorted(value))
    match chance.randrange(10):
        case 0:
            del value[name]
        case 1:
            value[_name(chance)] = chance.choice(ODD_VALUES)
        case 2:
            value[chance.choice(NAMES)] = chance.choice(ODD_VALUES)
        case _:
            value[name] = _mutate(chance, value[name])
    return value


def _name(chance: random.Random) -> str:
    odd = chance.choice(ODD_VALUES)
    return odd[:300] if isinstance(odd, str) else "gift"


def _text(chance: random.Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.15:
        # At a token boundary, so that most results are still JSON.
        at = text.find(b":", chance.randrange(len(text)))
        end = min((found for found in (text.find(b",", at), text.find(b"}", at)) if found > 0), default=len(text))
        text = text[: at + 1] + chance.choice(RAW_JSON_TEXTS) + text[end:]
    if chance.random() < 0.1:
        at = chance.randrange(len(text) + 1)
        text = chance.choice(
            [text[:at], text[:at] + bytes([chance.randrange(256)]) + text[at:], text[:at] + text[at + 1 :]]
        )
    return text + chance.choice(TAILS) if chance.random() < 0.2 else text


def _encode(chance: random.Random, text: bytes) -> tuple[bytes, str | None]:
    if chance.random() < 0.6:
        return text, None
    wire = gzip.compress(text, 1, mtime=0)
    if chance.random() < 0.3:
        at = chance.randrange(len(wire))
        wire = chance.choice([wire[:at], wire + b"x", wire + wire, wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]])
    return wire, chance.choice([None, "gzip"])
