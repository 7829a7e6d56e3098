"""Secrets as argon2id hashes, computed off the event loop."""

import asyncio
import base64
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from weakref import WeakValueDictionary

import argon2
from argon2.low_level import Type, hash_secret_raw

from services.auth import metrics
from services.chassis.runtime.errors import UnavailableError

# OWASP's recommendation. Secrets are 256 random bits, so the cost guards only against what an operator makes up.
MEMORY_KIB = 19_456
PASSES = 2
LANES = 1
HASH_BYTES = 32
SALT_BYTES = 16
AT_ONCE = 2
# How far hashing steps back behind the event loop, which has other requests to answer meanwhile.
NICER = 5
REMEMBERED_S = 300.0
REMEMBERED = 10_000
# Of those whose secret is not remembered. All of one busy client's wait for one computation; each guess is one more.
MOST_WAITING = 2_000


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What goes into a hash beside the secret."""

    memory_kib: int
    passes: int
    lanes: int
    salt: bytes

    def hash(self, secret: str) -> str:
        raw = hash_secret_raw(secret.encode(), self.salt, self.passes, self.memory_kib, self.lanes, HASH_BYTES, Type.ID)
        cost = f"m={self.memory_kib},t={self.passes},p={self.lanes}"
        return f"$argon2id$v=19${cost}${_b64(self.salt)}${_b64(raw)}"


class ArgonHasher:
    """Hashes in the PHC format, of which few are computed at a time.

    One secret is checked against all hashes of a client at the price of one, because they share a salt. A secret that
    was right is remembered for five minutes: as a digest keyed with what only this process knows.
    """

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._pepper = random_bytes(32)
        self._nobody = _recipe(random_bytes(SALT_BYTES))
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._turn_of_the_patient = asyncio.Semaphore(1)
        self._right: dict[str, tuple[bytes, float]] = {}
        # By the line they wait in: who guesses fills the patient one at most.
        self._waiting = {True: 0, False: 0}
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, thread_name_prefix="hash", initializer=_step_back)
        self._lines: WeakValueDictionary[tuple[bytes, bool], asyncio.Lock] = WeakValueDictionary()

    async def hash(self, secret: str, *, like: str | None = None) -> str:
        """The hash to be kept, with the salt of `like` if that is given."""
        recipe = _read(like) if like else _recipe(self._random_bytes(SALT_BYTES))
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, recipe.hash, secret)

    async def match(self, secret: str, hashes: Sequence[str], *, patient: bool = False) -> str | None:
        """The hash that the secret belongs to, if any. Raises `Away` while too many wait in the same line."""
        known = self._remembered(secret, hashes)
        if known is not None:
            return known
        if self._waiting[patient] >= MOST_WAITING:
            raise UnavailableError("the check of secrets")
        began = self._clock()
        self._waiting[patient] += 1
        try:
            found = await self._found(secret, hashes, patient=patient)
        finally:
            self._waiting[patient] -= 1
        metrics.HASH_SECONDS.labels("right" if found else "wrong").observe(self._clock() - began)
        return found

    async def _found(self, secret: str, hashes: Sequence[str], *, patient: bool) -> str | None:
        # Of those who bring the same secret at once one computes; the others find what it remembered.
        line = self._lines.setdefault((self._digest(secret), patient), asyncio.Lock())
        async with line, self._turn_of_the_patient if patient else self._turn:
            found = self._remembered(secret, hashes)
            if found is None:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, self._compute, secret, hashes)
            if found is not None:
                self._remember(secret, found)
        return found

    def _compute(self, secret: str, hashes: Sequence[str]) -> str | None:
        # Without hashes the work is done all the same, so that time does not tell who exists.
        recipes = {_read(kept) for kept in hashes} or {self._nobody}
        made = [recipe.hash(secret) for recipe in recipes]
        metrics.HASHES.inc(len(made))
        return next((kept for kept in hashes for one in made if hmac.compare_digest(kept, one)), None)

    def _remembered(self, secret: str, hashes: Sequence[str]) -> str | None:
        digest = self._digest(secret)
        now = self._clock()
        for kept in hashes:
            right, until = self._right.get(kept, (b"", 0.0))
            if now < until and hmac.compare_digest(right, digest):
                return kept
        return None

    def _remember(self, secret: str, kept: str) -> None:
        while len(self._right) >= REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[kept] = (self._digest(secret), self._clock() + REMEMBERED_S)

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(), sha256)


def _step_back() -> None:
    """Let this thread alone give way. Where threads have no priority of their own it stays as it is."""
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER)


def _recipe(salt: bytes) -> _Recipe:
    return _Recipe(MEMORY_KIB, PASSES, LANES, salt)


def _read(hashed: str) -> _Recipe:
    cost = argon2.extract_parameters(hashed)
    salt = hashed.split("$")[4]
    return _Recipe(cost.memory_cost, cost.time_cost, cost.parallelism, base64.b64decode(salt + "=" * (-len(salt) % 4)))


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()
