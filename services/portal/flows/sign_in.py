"""Signing in and out."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.chassis.http.rate_limit import RateLimit
from services.chassis.security.audit import AuditLog
from services.portal import metrics
from services.portal.domain.session import TOUCH_US, Grant, Identity, Session
from services.portal.ports import AuditTrail, Authority, SessionStore

MAX_CREDENTIAL_CHARACTERS = 256
# People paste secrets into the wrong field: the id that was entered is not logged.
UNKNOWN_CLIENT = "unknown client"
# Different refusals of a minute that the audit trail has by address; nobody fills it from many addresses.
MAX_LISTED_REFUSALS = 200
OTHER_ADDRESSES = "other addresses"
# Equal refusals of a minute that it counts: each is a write.
MAX_COUNTED_REFUSALS = 60


class Refusal(StrEnum):
    """Why a sign-in is refused."""

    WRONG = "wrong"
    THROTTLED = "throttled"
    NO_RIGHTS = "no_rights"
    # By OpenID Connect only.
    STALE = "stale"
    DENIED = "denied"
    UNVERIFIED = "unverified"
    UNMAPPED = "unmapped"
    NOT_ACCEPTED = "not_accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that signing in may touch. `failures` counts by address and by client id within a minute."""

    authority: Authority
    sessions: SessionStore
    failures: RateLimit
    max_failures: int
    audit: AuditLog
    trail: AuditTrail
    now_us: Callable[[], int]
    new_secret: Callable[[], str]
    on_end: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session, and the cookie that stands for it."""

    cookie: str
    session: Session


def session_id_of(cookie: str) -> str:
    """Return the id under which the session of a cookie is stored."""
    return hashlib.sha256(cookie.encode()).hexdigest()


async def sign_in(
    client_id: str, client_secret: str, *, source: str, deps: Deps, replaced: str | None = None
) -> SignedIn | Refusal:
    """Begin a session, always with a new id, and end the browser's earlier one. Raises `UnavailableError`."""
    # Counted before auth is asked: tries at the same time would all be let through.
    if not _begin_try(client_id, source, deps):
        return await refuse(Refusal.THROTTLED, source, deps)
    is_failure = False
    try:
        grant = await _inspect(client_id, client_secret, deps)
        is_failure = grant is None
    finally:
        if not is_failure:
            _give_try_back(client_id, source, deps)
    if grant is None:
        return await refuse(Refusal.WRONG, source, deps)
    if not grant.scopes:
        return await refuse(Refusal.NO_RIGHTS, source, deps)
    return await begin_session(client_id, client_secret, grant, source=source, deps=deps, replaced=(replaced,))


async def _inspect(client_id: str, client_secret: str, deps: Deps) -> Grant | None:
    if not (0 < len(client_id) <= MAX_CREDENTIAL_CHARACTERS and 0 < len(client_secret) <= MAX_CREDENTIAL_CHARACTERS):
        return None
    return await deps.authority.inspect(client_id, client_secret)


async def begin_session(
    client_id: str,
    client_secret: str,
    grant: Grant,
    *,
    source: str,
    deps: Deps,
    replaced: Collection[str | None] = (),
    identity: Identity | None = None,
) -> SignedIn:
    """Begin a session of a client that auth has accepted, and end `replaced`. Raises `UnavailableError`.

    Nobody has the cookie of a session that is not in the audit trail.
    """
    for session_id in set(replaced):
        if session_id is not None:
            await _end_replaced(session_id, source, deps)
    cookie, now_us = deps.new_secret(), deps.now_us()
    session = Session(
        id=session_id_of(cookie),
        client_id=client_id,
        client_secret=client_secret,
        grant=grant,
        created_us=now_us,
        seen_us=now_us,
        identity=identity,
    )
    await deps.sessions.add(session)
    await _record("signed in", session, source, deps)
    metrics.SIGN_INS.labels("signed_in").inc()
    return SignedIn(cookie, session)


async def find_session(cookie: str, deps: Deps, *, is_used: bool) -> Session | None:
    """Return the session of a cookie if it has not ended. Raises `UnavailableError`.

    It is used by what a person does, not by what a page fetches by itself.
    """
    session = await deps.sessions.find(session_id_of(cookie))
    if session is None:
        return None
    now_us = deps.now_us()
    if now_us >= session.ends_us:
        await _end(session.id, "expired", deps)
        return None
    if is_used and now_us - session.seen_us >= TOUCH_US:
        await deps.sessions.touch(session.id, seen_us=now_us)
    return session


async def sign_out(session: Session, *, source: str, deps: Deps) -> None:
    """End a session, in all tabs and on all replicas. Raises `UnavailableError`; it may then be repeated."""
    # First: of a session that is gone nobody would record the end.
    await _record("signed out", session, source, deps)
    await _end(session.id, "signed_out", deps)


async def end_refused_session(session: Session, *, source: str, deps: Deps) -> None:
    """End a session whose credentials auth no longer accepts. Raises `UnavailableError`; it may then be repeated."""
    await _record("session ended", session, source, deps, reason="revoked")
    await _end(session.id, "revoked", deps)


async def _end_replaced(session_id: str, source: str, deps: Deps) -> None:
    """End the browser's earlier session: its cookie is about to be overwritten, so nobody could sign it out."""
    session = await deps.sessions.find(session_id)
    if session is not None:
        await _record("session ended", session, source, deps, reason="replaced")
        await _end(session.id, "replaced", deps)


async def _record(action: str, session: Session, source: str, deps: Deps, **details: object) -> None:
    """Write an action of a session to the log, and to the audit trail. Raises `UnavailableError`."""
    details |= session.audit_details
    deps.audit.record(action, actor=session.client_id, source=source, **details)
    await deps.trail.record(action, actor=session.client_id, source=source, **details)


async def _end(session_id: str, reason: str, deps: Deps) -> None:
    if await deps.sessions.delete(session_id):
        metrics.SESSIONS_ENDED.labels(reason).inc()
    deps.on_end(session_id)


def is_throttled(source: str, deps: Deps) -> bool:
    """Whether there were too many failures from the address."""
    return not deps.failures.has_quota(_address_key(source), limit=deps.max_failures)


def _begin_try(client_id: str, source: str, deps: Deps) -> bool:
    """Count a try as failed, unless there were too many from its address or for its client id."""
    spent: list[str] = []
    for key, limit in _limits(client_id, source, deps):
        if not deps.failures.acquire(key, limit=limit).allowed:
            for each in spent:
                deps.failures.give_back(each)
            return False
        spent.append(key)
    return True


def _give_try_back(client_id: str, source: str, deps: Deps) -> None:
    for key, _ in _limits(client_id, source, deps):
        deps.failures.give_back(key)


def _limits(client_id: str, source: str, deps: Deps) -> list[tuple[str, int]]:
    # A client id may be tried from several addresses: its owner must not be locked out by one of them.
    digest = hashlib.sha256(client_id.encode("utf-8", "replace")).hexdigest()
    return [(_address_key(source), deps.max_failures), (f"client:{digest}", 3 * deps.max_failures)]


def _address_key(source: str) -> str:
    return f"address:{source}"


async def refuse(refusal: Refusal, source: str, deps: Deps, **details: str) -> Refusal:
    """Count and audit a refusal, and return it. Raises `UnavailableError`."""
    metrics.SIGN_INS.labels(str(refusal)).inc()
    deps.audit.record("sign-in refused", actor=UNKNOWN_CLIENT, source=source, reason=str(refusal), **details)
    if not _is_listed((source, refusal, *details.values()), deps):
        source, details = OTHER_ADDRESSES, {}
    key = "|".join(("counted", source, refusal, *details.values()))
    if deps.failures.acquire(key, limit=MAX_COUNTED_REFUSALS).allowed:
        await deps.trail.count("sign-in refused", actor=UNKNOWN_CLIENT, source=source, reason=str(refusal), **details)
    return refusal


def _is_listed(parts: Sequence[str], deps: Deps) -> bool:
    """Whether refusals of this kind have an entry of their own in this minute."""
    key = "|".join(("listed", *parts))
    if deps.failures.has_quota(key, limit=1):
        if not deps.failures.acquire("listed refusals", limit=MAX_LISTED_REFUSALS).allowed:
            return False
        deps.failures.acquire(key, limit=1)
    return True
