"""How what an endpoint gets is signed, and how its secrets are replaced and kept."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks import webhooks as library

from services.webhooks.adapters.secret_sealer import describe_public_key
from services.webhooks.domain.signature import format_secret
from services.webhooks.flows import manage_endpoints
from tests.webhooks.events import SITE, an_event
from tests.webhooks.sender_harness import SECOND_US, Received, SenderHarness, harness

__all__ = ["harness"]


def verify_v1a(headers: Mapping[str, str], body: bytes, public: str) -> None:
    """An independent check, from the specification: `whpk_` and `v1a`."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signatures = [part.removeprefix("v1a,") for part in headers["webhook-signature"].split() if part[:4] == "v1a,"]
    assert signatures
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in signatures:
        key.verify(base64.b64decode(signature), content)


def verifies(secret: bytes, request: Received, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the library of Standard Webhooks accepts the request at the time of the virtual clock."""
    headers = dict(request.headers)
    # The library compares with the system's clock.
    at = datetime.fromtimestamp(request.at_us / SECOND_US, UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return at.astimezone(tz)

    monkeypatch.setattr(library, "datetime", Clock)
    try:
        Webhook(format_secret(secret)).verify(request.body, headers)
    except WebhookVerificationError:
        return False
    return True


async def test_signatures_verify_through_a_rotation(harness: SenderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both secrets sign during the overlap, and the new one alone after it; the key pair signs throughout."""
    public = describe_public_key(harness.keys[0])["webhookKey"]
    endpoint, first = await harness.create()

    async def send(number: int) -> Received:
        await harness.append(an_event(number))
        await harness.run()
        return harness.transport.received[-1]

    before = await send(1)
    rotated = await manage_endpoints.rotate_secret(SITE, endpoint.id, harness.manage, overlap_s=3_600)
    assert rotated is not None
    second = rotated[1]
    harness.now_us += 3_599 * SECOND_US
    during = await send(2)
    harness.now_us += 2 * SECOND_US
    after = await send(3)
    accepted = {
        name: (verifies(first, request, monkeypatch), verifies(second, request, monkeypatch))
        for name, request in (("before", before), ("during", during), ("after", after))
    }
    assert accepted == {"before": (True, False), "during": (True, True), "after": (False, True)}
    for request in (before, during, after):
        verify_v1a(request.headers, request.body, public)
        with pytest.raises(InvalidSignature):
            verify_v1a(request.headers, request.body + b" ", public)
    assert not verifies(b"x" * 32, before, monkeypatch)


async def test_a_secret_that_leaked_is_replaced_at_once(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    for _ in range(3):
        await manage_endpoints.rotate_secret(SITE, endpoint.id, harness.manage, overlap_s=3_600)
    with pytest.raises(manage_endpoints.TooManySecretsError):
        await manage_endpoints.rotate_secret(SITE, endpoint.id, harness.manage, overlap_s=3_600)
    await manage_endpoints.rotate_secret(SITE, endpoint.id, harness.manage, overlap_s=0)
    assert len((await harness.find(endpoint.id)).secrets) == 1


async def test_no_secret_is_stored_in_the_clear(harness: SenderHarness) -> None:
    _, secret = await harness.create()
    documents = await harness.mongo.collection("webhook_endpoints").find({}).to_list(None)
    stored = [each["ciphertext"] for document in documents for each in document["secrets"]]
    assert stored
    assert not any(secret in ciphertext for ciphertext in stored)
