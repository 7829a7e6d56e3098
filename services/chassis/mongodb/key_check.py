"""Check values of keys, stored beside the data, by which a process notices that a key was replaced.

A key whose silent replacement would break an invariant is checked before its first use: codes with a fingerprint of
another key would be stored, and sold, a second time.
"""

import hashlib
import hmac
from collections.abc import Mapping

from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.chassis.runtime.errors import ChangedSettingError, UnavailableError

KEY_CHECKS = "key_checks"


async def verify_keys(mongo: Mongo, keys: Mapping[str, bytes]) -> None:
    """Compare each key, by the name of its setting, with its stored check value; store the value if there is none.

    Use it as the first step of a `StartupTask`: the process ends if a key differs. Commands that use a key call it
    before they do. Raises `ChangedSettingError`, `UnavailableError`.
    """
    for setting, key in keys.items():
        expected = _check_value(setting, key)
        stored = await _load(mongo, setting)
        if stored is None:
            await _store(mongo, setting, expected)
            stored = await _load(mongo, setting)
        if stored is None:
            # Another process has stored a value, but not yet on a majority of the members.
            raise UnavailableError("MongoDB")
        if not hmac.compare_digest(stored, expected):
            raise ChangedSettingError(setting)


def _check_value(setting: str, key: bytes) -> str:
    return hmac.new(key, f"key check of {setting}".encode(), hashlib.sha256).hexdigest()


async def _load(mongo: Mongo, setting: str) -> str | None:
    # Only what a majority has: a value that is rolled back later must not decide which key is right.
    checks = mongo.collection(KEY_CHECKS).with_options(read_concern=ReadConcern("majority"))
    with mongo_errors():
        document = await checks.find_one({"_id": setting})
    return None if document is None else str(document["value"])


async def _store(mongo: Mongo, setting: str, value: str) -> None:
    try:
        with mongo_errors():
            await mongo.collection(KEY_CHECKS).insert_one({"_id": setting, "value": value})
    except DuplicateKeyError:
        return
