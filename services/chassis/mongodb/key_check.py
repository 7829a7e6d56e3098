"""Check values of keys, stored beside the data, by which a process notices that a key was replaced.

A key whose silent replacement would break an invariant is checked before its first use: codes with a fingerprint of
another key would be stored, and sold, a second time.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import SecretStr
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError

KEY_CHECKS = "key_checks"


async def verify_keys(mongo: Mongo, keys: Mapping[str, bytes], *, service: str = "") -> None:
    """Compare each key, by the name of its setting, with its stored check value; store the value if there is none.

    Name the `service` if others have a setting of that name: its key may differ from theirs.

    Use it as the first step of a `StartupTask`: the process ends if a key differs. Commands that use a key call it
    before they do. Raises `ChangedSettingError`, `UnavailableError`.
    """
    suffix = f" of {service}" if service else ""
    expected = {setting: _check_value(setting, key) for setting, key in keys.items()}
    # All are compared before any is stored: of a process that is refused, nothing may remain.
    lacking = [setting for setting, value in expected.items() if not await _matches(mongo, setting, suffix, value)]
    for setting in lacking:
        await _store(mongo, setting + suffix, expected[setting])
        if not await _matches(mongo, setting, suffix, expected[setting]):
            # Another process has stored a value, but not yet on a majority of the members.
            raise UnavailableError("MongoDB")


async def verify_key_ids(mongo: Mongo, setting: str, key_ids: Collection[str]) -> None:
    """Store which keys of a rotating set may have been used; raises `ChangedSettingError` if the set lacks such a key.

    Raises `UnavailableError`, too. `retire_key_ids` lets keys be removed.
    """
    lacks_none = {"$not": {"$elemMatch": {"$nin": list(key_ids)}}}
    added = {"$addToSet": {"key_ids": {"$each": list(key_ids)}}}
    await _update_if(mongo, setting, lacks_none, added, is_allowed=lambda stored: stored <= set(key_ids))


async def verify_rotated_key_ids(mongo: Mongo, setting: str, key_ids: Collection[str]) -> None:
    """Store which keys are in use; raises `ChangedSettingError` if none of those that were is among them.

    For keys that others know, of which a rotation adds one before it removes another. Raises `UnavailableError`, too.
    """
    has_one = {"$in": list(key_ids)}
    replaced = {"$set": {"key_ids": list(key_ids)}}
    await _update_if(mongo, setting, has_one, replaced, is_allowed=lambda stored: bool(stored & set(key_ids)))


async def _update_if(
    mongo: Mongo,
    setting: str,
    condition: Mapping[str, Any],
    update: Mapping[str, Any],
    *,
    is_allowed: Callable[[set[str]], bool],
) -> None:
    """Update the stored ids if there are none or they meet the condition; raises `ChangedSettingError` otherwise.

    One write compares and stores: what a process that is refused would add, others would lack.
    """
    try:
        with mongo_errors():
            await mongo.collection(KEY_CHECKS).update_one({"_id": setting, "key_ids": condition}, update, upsert=True)
    except DuplicateKeyError:
        with mongo_errors():
            found = await _majority(mongo).find_one({"_id": setting})
        if found is None or is_allowed(set(found["key_ids"])):
            # Another process was faster; a majority of the members may not have it yet.
            raise UnavailableError("MongoDB") from None
        raise ChangedSettingError(setting) from None


async def retire_key_ids(mongo: Mongo, setting: str, *, kept: Collection[str]) -> None:
    """Store that only these keys are still needed; raises `UnavailableError`."""
    with mongo_errors():
        await mongo.collection(KEY_CHECKS).update_one({"_id": setting}, {"$set": {"key_ids": list(kept)}}, upsert=True)


async def verify_page_token_key(mongo: Mongo, key: SecretStr, *, service: str) -> None:
    """Compare the key of a service's page tokens: with another one, clients could not go on where they stopped.

    Raises `ChangedSettingError`, `UnavailableError`.
    """
    await verify_keys(mongo, {"PAGE_TOKEN_KEY": key.get_secret_value().encode()}, service=service)


def _check_value(setting: str, key: bytes) -> str:
    return hmac.new(key, f"key check of {setting}".encode(), hashlib.sha256).hexdigest()


async def _matches(mongo: Mongo, setting: str, suffix: str, expected: str) -> bool:
    """Whether the value is stored; raises `ChangedSettingError` if another one is."""
    stored = await _load(mongo, setting + suffix)
    if stored is not None and not hmac.compare_digest(stored, expected):
        raise ChangedSettingError(setting)
    return stored is not None


async def _load(mongo: Mongo, id_: str) -> str | None:
    # Only what a majority has: a value that is rolled back later must not decide which key is right.
    with mongo_errors():
        document = await _majority(mongo).find_one({"_id": id_})
    return None if document is None else str(document["value"])


def _majority(mongo: Mongo) -> Any:
    return mongo.collection(KEY_CHECKS).with_options(read_concern=ReadConcern("majority"))


async def _store(mongo: Mongo, id_: str, value: str) -> None:
    try:
        with mongo_errors():
            await mongo.collection(KEY_CHECKS).insert_one({"_id": id_, "value": value})
    except DuplicateKeyError:
        return
