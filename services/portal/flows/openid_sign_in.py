"""Signing in by OpenID Connect: a person of an issuer becomes the client to which the operator has mapped them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.chassis.runtime.logs import logger
from services.portal.domain.openid import (
    PENDING_S,
    InvalidCodeError,
    InvalidIdTokenError,
    IssuerError,
    MappedClient,
    Metadata,
    PendingSignIn,
    account_of,
    authorization_url,
    check_claims,
    claim_values,
    digest,
    end_session_url,
)
from services.portal.domain.origins import PREFIX
from services.portal.domain.session import Identity, Session
from services.portal.flows import sign_in
from services.portal.flows.sign_in import Refusal, SignedIn

# Each begun sign-in is a document until it expires.
BEGUN_PER_FAILURE = 10
MAX_TARGET_CHARACTERS = 1_024
_LOG = logger(__name__)


class Issuer(Protocol):
    """The issuer. Every call raises `IssuerError` if its answer cannot be used or does not come."""

    async def metadata(self) -> Metadata:
        """Return the checked discovery document."""

    async def redeem(self, code: str, *, verifier: str, redirect_uri: str) -> str:
        """Return the ID token for a code; raises `InvalidCodeError`."""

    async def verify(self, id_token: str) -> Mapping[str, Any]:
        """Return the claims of a token that is signed by the issuer; raises `InvalidIdTokenError`."""


class PendingSignIns(Protocol):
    """Where begun sign-ins are kept. Every call raises `UnavailableError`."""

    async def add(self, pending: PendingSignIn) -> None:
        """Store a begun sign-in."""

    async def take(self, pending_id: str) -> PendingSignIn | None:
        """Return and delete a begun sign-in: a second call finds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that signing in by OpenID Connect may touch."""

    issuer: Issuer
    pending: PendingSignIns
    sign_in: sign_in.Deps
    issuer_url: str
    client_id: str
    scopes: str
    claim: str
    clients: Mapping[str, MappedClient]
    redirect_uri: str
    signed_out_uri: str
    new_secret: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes to sign in, and the cookie by which it is recognised when it comes back."""

    url: str
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What the issuer sends back through the browser."""

    state: str
    code: str
    error: str
    issuer: str | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A new session, and the page that was asked for before it."""

    signed_in: SignedIn
    target: str


async def begin(*, target: str, cookie: str | None, replaced: str | None, source: str, deps: Deps) -> Begun | Refusal:
    """Begin a sign-in; a browser with a `cookie` keeps it, so that several tabs may sign in at once.

    Raises `IssuerError`, `UnavailableError`.
    """
    if _is_throttled(source, deps) or not _may_begin(source, deps.sign_in):
        return await sign_in.refuse(Refusal.THROTTLED, source, deps.sign_in)
    metadata = await deps.issuer.metadata()
    state, cookie = deps.new_secret(), cookie or deps.new_secret()
    pending = PendingSignIn(
        id=digest(state),
        browser=digest(cookie),
        nonce=deps.new_secret(),
        verifier=deps.new_secret(),
        target=target if len(target) <= MAX_TARGET_CHARACTERS else PREFIX,
        replaced=replaced,
        expires_us=deps.sign_in.now_us() + PENDING_S * 1_000_000,
    )
    await deps.pending.add(pending)
    url = authorization_url(
        metadata,
        pending,
        state=state,
        client_id=deps.client_id,
        scopes=deps.scopes,
        redirect_uri=deps.redirect_uri,
    )
    return Begun(url, cookie)


def _is_throttled(source: str, deps: Deps) -> bool:
    failures = deps.sign_in.failures
    return sign_in.is_throttled(source, deps.sign_in) or not failures.has_quota(
        _unverified(source), limit=deps.sign_in.max_failures
    )


def _unverified(source: str) -> str:
    # Apart from failed secrets: keys that the issuer has rotated too early must not lock an office out of those.
    return f"unverified:{source}"


def _may_begin(source: str, deps: sign_in.Deps) -> bool:
    return deps.failures.acquire(f"begun:{source}", limit=BEGUN_PER_FAILURE * deps.max_failures).allowed


async def complete(
    callback: Callback, *, cookie: str | None, current: str | None, source: str, deps: Deps
) -> Completed | Refusal:
    """Begin the session of the person who comes back from the issuer, and end `current`, which the browser has now.

    Only what the issuer has said and does not hold counts as a failure of the address, and only for sign-ins by OpenID
    Connect: anybody can send a browser back with nothing, and people of one office may have one address.
    Raises `IssuerError`, `UnavailableError`.
    """
    if _is_throttled(source, deps):
        return await sign_in.refuse(Refusal.THROTTLED, source, deps.sign_in)
    pending = await _take(callback.state, cookie, deps)
    if pending is None:
        return await sign_in.refuse(Refusal.STALE, source, deps.sign_in)
    try:
        await _check_issuer(callback, deps)
        if callback.error:
            return await sign_in.refuse(Refusal.DENIED, source, deps.sign_in)
        identity, claims = await _identify(callback.code, pending, deps)
    except InvalidCodeError:
        return await sign_in.refuse(Refusal.STALE, source, deps.sign_in)
    except InvalidIdTokenError as error:
        _LOG.warning("answer of the issuer refused", reason=str(error))
        deps.sign_in.failures.acquire(_unverified(source), limit=deps.sign_in.max_failures)
        return await sign_in.refuse(Refusal.UNVERIFIED, source, deps.sign_in)
    return await _sign_in_mapped(
        identity, claims, target=pending.target, replaced=(pending.replaced, current), source=source, deps=deps
    )


async def _take(state: str, cookie: str | None, deps: Deps) -> PendingSignIn | None:
    """Return and delete a sign-in that the browser has begun."""
    if cookie is None:
        return None
    pending = await deps.pending.take(digest(state))
    if pending is None or digest(cookie) != pending.browser or deps.sign_in.now_us() >= pending.expires_us:
        return None
    return pending


async def _check_issuer(callback: Callback, deps: Deps) -> None:
    """Raise `InvalidIdTokenError` if another issuer has answered (RFC 9207)."""
    if callback.issuer is None:
        is_own = not (await deps.issuer.metadata()).authorization_response_iss_parameter_supported
    else:
        is_own = callback.issuer == deps.issuer_url
    if not is_own:
        raise InvalidIdTokenError("another issuer in the response")


async def _identify(code: str, pending: PendingSignIn, deps: Deps) -> tuple[Identity, Mapping[str, Any]]:
    id_token = await deps.issuer.redeem(code, verifier=pending.verifier, redirect_uri=deps.redirect_uri)
    claims = await deps.issuer.verify(id_token)
    subject = check_claims(
        claims,
        issuer=deps.issuer_url,
        client_id=deps.client_id,
        nonce=pending.nonce,
        now_s=deps.sign_in.now_us() / 1_000_000,
    )
    return Identity(account=account_of(deps.issuer_url, subject), id_token=id_token), claims


async def _sign_in_mapped(
    identity: Identity,
    claims: Mapping[str, Any],
    *,
    target: str,
    replaced: Collection[str | None],
    source: str,
    deps: Deps,
) -> Completed | Refusal:
    client = _client_of(claims, deps)
    if client is None:
        return await sign_in.refuse(Refusal.UNMAPPED, source, deps.sign_in, account=identity.account)
    grant = await deps.sign_in.authority.inspect(client.client_id, client.client_secret)
    if grant is None:
        _LOG.error("the secret of a mapped client is not accepted", client=client.client_id)
        return await sign_in.refuse(Refusal.NOT_ACCEPTED, source, deps.sign_in, account=identity.account)
    if not grant.scopes:
        return await sign_in.refuse(Refusal.NO_RIGHTS, source, deps.sign_in, account=identity.account)
    signed_in = await sign_in.begin_session(
        client.client_id,
        client.client_secret,
        grant,
        source=source,
        deps=deps.sign_in,
        replaced=replaced,
        identity=identity,
    )
    return Completed(signed_in, target)


def _client_of(claims: Mapping[str, Any], deps: Deps) -> MappedClient | None:
    """Return the first client of the mapping, in the operator's order, that a value of the claim leads to."""
    values = set(claim_values(claims, deps.claim))
    return next((client for value, client in deps.clients.items() if value in values), None)


async def sign_out_url(session: Session, deps: Deps) -> str | None:
    """Return where a person signs out at the issuer; None if they did not sign in there, or it does not say where."""
    if session.identity is None:
        return None
    try:
        metadata = await deps.issuer.metadata()
    except IssuerError:
        return None
    return end_session_url(
        metadata, client_id=deps.client_id, id_token=session.identity.id_token, return_to=deps.signed_out_uri
    )
