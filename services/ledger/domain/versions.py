"""Versions of an order: which is the latest, and what each changed. The order of arrival does not matter."""

from collections.abc import Iterable
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from msgspec import Struct
from msgspec.structs import astuple, replace

from services.ledger.domain.money import to_micros
from services.sales.records import Order, OrderLine, Return, SalesRecord

T = TypeVar("T", bound=Order | Return)

MAX_VERSIONS = 10
FINGERPRINT_BYTES = 4
# Fields whose changes a version reports beside those of the user, by their names in JSON; the personal ones are last.
# The offset belongs to the local time.
FIELDS = {
    "dateTime": ("date_time", "utc_offset_minutes"),
    "mode": ("mode",),
    "paymentMethod": ("payment_method",),
    "storeId": ("store_id",),
    "regionId": ("region_id",),
    "currency": ("currency",),
    "couponCode": ("coupon_code",),
    "couponValue": ("coupon_value",),
    "lineItems": ("line_items",),
    "emailHash": ("email_hash",),
    "ccHash": ("cc_hash",),
    "segmentIds": ("segment_ids",),
    "segmentNames": ("segment_names",),
}
# What the records of an erased user have instead of personal data, by the fields' names in JSON.
_ERASED: dict[str, object] = {"emailHash": None, "ccHash": None, "segmentIds": [], "segmentNames": []}
_IMPERSONAL_BYTES = FINGERPRINT_BYTES * (len(FIELDS) - len(_ERASED))
_PERSONAL = ("user_id", "email_hash", "cc_hash", "segment_ids", "segment_names")
_RETURN_FIELDS = (*(name for name in Return.__struct_fields__ if name not in _PERSONAL), *_PERSONAL)


class Rank(NamedTuple):
    """The place of a version among the others: the greatest is the latest."""

    accepted_at: int
    job_id: str
    job_index: int


class Version(Struct, frozen=True):
    """An earlier version: its rank and user, and a keyed fingerprint of each other field instead of its content."""

    rank: Rank
    user_id: str
    fingerprints: bytes


class VersionedOrder(Struct, frozen=True):
    """The latest version of an order, and the earlier ones, the latest first."""

    order: Order
    earlier: tuple[Version, ...] = ()


class ShownVersion(NamedTuple):
    """A version as it is shown: `changed` are the names of fields that differ from the version before."""

    rank: Rank
    changed: tuple[str, ...]


def rank_of(record: SalesRecord) -> Rank:
    """Return the record's rank. A record without a job comes before those of any job."""
    job = record.job
    return Rank(record.accepted_at, "", -1) if job is None else Rank(record.accepted_at, job.job_id, job.index)


def fingerprints(order: Order, key: bytes) -> bytes:
    """Return a fingerprint of each field, which says nothing without the key."""
    return b"".join(
        _fingerprint(repr([_canonical(getattr(order, attribute)) for attribute in attributes]), key)
        for attributes in FIELDS.values()
    )


def add_version(stored: VersionedOrder | None, order: Order, key: bytes) -> VersionedOrder:
    """Return the order with one more version; the same object if it has that version, or enough later ones."""
    if stored is None:
        return VersionedOrder(order)
    if order == stored.order:
        return stored
    new, latest = (_version(each, key) for each in (order, stored.order))
    if _place(new) > _place(latest):
        return VersionedOrder(order, _keep([latest, *stored.earlier]))
    if new == latest or new in stored.earlier:
        return stored
    earlier = _keep([*stored.earlier, new])
    return stored if earlier == stored.earlier else VersionedOrder(stored.order, earlier)


def is_later_return(new: Return, stored: Return | None) -> bool:
    """Whether a return replaces the stored one of the same id."""
    if stored is None:
        return True
    # Records of equal rank are repetitions; if they differ all the same, the choice must not depend on arrival.
    return _return_place(new) > _return_place(stored)


def shown_versions(versioned: VersionedOrder, key: bytes) -> list[ShownVersion]:
    """Return up to ten versions, the latest first, each with what it changed."""
    if not versioned.earlier:
        return [ShownVersion(rank_of(versioned.order), ())]
    versions = [_version(versioned.order, key), *versioned.earlier]
    shown = [
        ShownVersion(version.rank, _changed(version, before))
        for version, before in zip(versions, [*versions[1:], None], strict=True)
    ]
    return shown[:MAX_VERSIONS]


def erase_person(record: T, pseudonym: str) -> T:
    """Return the record of an erased user: a pseudonym instead of the user, neither hashes nor segments."""
    return replace(record, user_id=pseudonym, email_hash=None, cc_hash=None, segment_ids=[], segment_names=[])


def erase_user(versioned: VersionedOrder, user_id: str, pseudonym: str, key: bytes) -> VersionedOrder:
    """Return the order as if all versions of the user had been pseudonymous when they came."""
    order = versioned.order
    latest = erase_person(order, pseudonym) if order.user_id == user_id else order
    erased = {name: _fingerprint(repr([value]), key) for name, value in _ERASED.items()}
    earlier = {
        Version(version.rank, pseudonym, b"".join((_parts(version.fingerprints) | erased).values()))
        if version.user_id == user_id
        else version
        for version in versioned.earlier
    }
    # While the user is being erased, a repeated record is pseudonymous, and the stored one is not yet.
    return VersionedOrder(latest, _keep(earlier - {_version(latest, key)}) if earlier else ())


def _keep(versions: Iterable[Version]) -> tuple[Version, ...]:
    """Return the latest versions; one more than is shown, so that the last one shown can be compared."""
    return tuple(sorted(versions, key=_place, reverse=True)[:MAX_VERSIONS])


def _version(order: Order, key: bytes) -> Version:
    return Version(rank_of(order), order.user_id, fingerprints(order, key))


def _place(version: Version) -> tuple[Rank, bytes, str, bytes]:
    """Return what decides between versions; records that are repeated with other content are decided by that.

    The person comes last: erasing one must not change the decision.
    """
    impersonal, personal = version.fingerprints[:_IMPERSONAL_BYTES], version.fingerprints[_IMPERSONAL_BYTES:]
    return version.rank, impersonal, version.user_id, personal


def _return_place(record: Return) -> tuple[Rank, str]:
    return rank_of(record), repr([_canonical(getattr(record, name)) for name in _RETURN_FIELDS])


def _canonical(value: object) -> object:
    """Return the value so that equal values have equal texts."""
    if isinstance(value, Decimal):
        return to_micros(value)
    if isinstance(value, OrderLine):
        return [_canonical(part) for part in astuple(value)]
    return [_canonical(part) for part in value] if isinstance(value, list) else value


def _fingerprint(text: str, key: bytes) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=FINGERPRINT_BYTES).digest()


def _parts(of_fields: bytes) -> dict[str, bytes]:
    starts = range(0, len(of_fields), FINGERPRINT_BYTES)
    return dict(zip(FIELDS, [of_fields[start : start + FINGERPRINT_BYTES] for start in starts], strict=True))


def _changed(version: Version, before: Version | None) -> tuple[str, ...]:
    if before is None:
        return ()
    then = _parts(before.fingerprints)
    user = ("userId",) if version.user_id != before.user_id else ()
    return (*user, *(name for name, part in _parts(version.fingerprints).items() if part != then[name]))
