"""Puts the simulation's clock, Kafka and MongoDB under the services: call `install()` before anything else."""

from tests.simulation import virtual_time

virtual_time.install_clock()

# The clock is installed before the modules that bind its functions are imported.
import asyncio
import json
import os
import random
import sys
import time
import traceback
import warnings
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache, partial
from typing import Any

import aiokafka
import aiokafka.admin
import jwt
import pymongo
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulation.kafka_consumer import SimulatedAdmin, SimulatedConsumer
from tests.simulation.kafka_producer import SimulatedProducer
from tests.simulation.mongo_client import SimulatedMongoClient

# Bound by name in the services' modules.
_CLIENTS: tuple[tuple[Any, str, Any], ...] = (
    (aiokafka, "AIOKafkaProducer", SimulatedProducer),
    (aiokafka, "AIOKafkaConsumer", SimulatedConsumer),
    (aiokafka.admin, "AIOKafkaAdminClient", SimulatedAdmin),
    (pymongo, "AsyncMongoClient", SimulatedMongoClient),
)
for _module, _name, _client in _CLIENTS:
    setattr(_module, _name, _client)

from services.chassis.avro import registry_client, schemas

_load_schemas = schemas.Schemas.load


@cache
def all_schemas() -> schemas.Schemas:
    """The schemas, read once."""
    return _load_schemas(SCHEMAS_DIR)


async def _cached_schemas(*_arguments: Any) -> schemas.Schemas:
    return all_schemas()


for _name, _function in {"load_schemas": _cached_schemas}.items():
    setattr(registry_client, _name, _function)

from services.avro import codec
from services.chassis.http import idempotency
from services.chassis.http.server import HttpServer
from services.chassis.kafka import aiokafka_patches
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.jwks import Jwks
from services.fulfilment import app as fulfilment_app
from services.fulfilment.adapters import stock
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer
from services.ingest import app as ingest_app
from services.webhooks import app as webhooks_app
from services.webhooks.domain.retry import RetrySchedule
from services.webhooks.flows import push
from tests.simulation.receiver import SimulatedTransport

SCHEMAS_DIR = REPOSITORY / "schemas"
ISSUER = "https://tillstream.example"
_KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())


class _VirtualDatetime(datetime):
    """`datetime` whose `now` is virtual."""

    @classmethod
    def now(cls, tz: tzinfo | None = UTC) -> "datetime":  # type: ignore[override]
        return datetime.fromtimestamp(time.time(), tz)


class Defects:
    """What the services log as a defect, and every line for searches of secrets."""

    def __init__(self) -> None:
        self.is_active = False
        self.found: list[str] = []
        self.lines: list[bytes] = []

    def clear(self) -> None:
        """Forget what was logged before."""
        self.found.clear()
        self.lines.clear()

    def process(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        if not self.is_active:
            raise structlog.DropEvent
        self.lines.append(repr(event).encode())
        if event.get("exc_info"):
            error = sys.exc_info()[1]
            self.found.append(f"{event['event']}: {error!r}")
            if ECHO:
                traceback.print_exc()
        elif ECHO and method != "debug":
            print(f"    {virtual_time.true_time_s() - virtual_time.START_S:9.4f} {event}")
        raise structlog.DropEvent


ECHO = False
defects = Defects()


def echo(*, on: bool) -> None:
    """Print what the services log."""
    global ECHO  # noqa: PLW0603 - one switch for the whole process
    ECHO = on


async def _jwks(_self: Jwks) -> bytes:
    await asyncio.sleep(0.001)
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key()))
    return json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "ES256"}]}).encode()


@cache
def token(audience: str, scope: str, site: int, api_key: str) -> str:
    """An access token for the whole simulation."""
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": f"client-{site}",
        "site": site,
        "api_keys": [api_key],
        "scope": scope,
        "jti": f"{audience}-{site}",
        "iat": int(virtual_time.START_S) - 60,
        "exp": int(virtual_time.START_S) + 28_000,
    }
    return jwt.api_jws.encode(json.dumps(claims).encode(), _KEY, "ES256", headers={"kid": "k1", "typ": "at+jwt"})


async def _nothing(_self: Any) -> None:
    return None


_new_codec = codec.Codec.__init__
_codecs: dict[Any, dict[str, Any]] = {}


def _cached_codec(self: Any, definition: Any, types: Any, **options: Any) -> None:
    """Generate the code of each schema once: processes start by the dozen."""
    names = tuple(sorted((name, kind.__module__, kind.__qualname__) for name, kind in types.items()))
    key = (json.dumps(definition, default=str), names, repr(options))
    if key not in _codecs:
        _new_codec(self, definition, types, **options)
        _codecs[key] = dict(self.__dict__)
    self.__dict__.update(_codecs[key])


# As many tries as in production, within the time of a story.
_RETRIES = RetrySchedule(pauses_us=(200_000, 500_000, 1_000_000, 2_000_000, *(4_000_000,) * 6))
_new_push_deps = partial(push.Deps, schedule=_RETRIES, min_circuit_pause_us=300_000)


@cache
def _renderer(font: str | None) -> Any:
    return TemplateInvoiceRenderer(font=font)


def _replacements() -> Sequence[tuple[Any, str, Any]]:
    """Everything that would open a socket, ask the system for the time or chance, or take long to build."""
    return (
        (aiokafka_patches, "patch_producer", lambda _producer: None),
        (aiokafka_patches, "install", lambda: None),
        (idempotency, "datetime", _VirtualDatetime),
        # A crashed attempt is continued before its job expires, as with the real lease and deadline.
        (idempotency, "LEASE_S", 0.5),
        (stock, "Random", lambda: random.Random(os.urandom(8))),
        (HttpServer, "start", _nothing),
        (HttpServer, "stop", _nothing),
        (Jwks, "_get", _jwks),
        (codec.Codec, "__init__", _cached_codec),
        (ingest_app, "registry_routes", lambda *_arguments, **_options: []),
        (webhooks_app, "HttpTransport", SimulatedTransport),
        (webhooks_app, "Random", lambda: random.Random(os.urandom(8))),
        (push, "Deps", _new_push_deps),
        (fulfilment_app, "TemplateInvoiceRenderer", lambda *, font: _renderer(font)),
    )


def install() -> None:
    """Finish the installation; without it, services would open sockets."""
    for owner, name, value in _replacements():
        setattr(owner, name, value)
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda _unraisable: None
    structlog.configure(processors=[defects.process], cache_logger_on_first_use=True)


__all__ = ["all_schemas", "defects", "echo", "install", "token"]
