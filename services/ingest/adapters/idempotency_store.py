"""Answers to requests with an `Idempotency-Key`, kept in MongoDB. Without such a header nothing here is touched."""

from contextlib import suppress

from services.chassis.http.idempotency import HEADER, Idempotency, Reply, Turn, key_in
from services.chassis.runtime.errors import Away
from services.ingest.domain.accepted import Submission


class MongoReplies:
    """The keys of the import API."""

    def __init__(self, keys: Idempotency) -> None:
        self._keys = keys
        self._is_prepared = False

    async def begin(self, submission: Submission, job_id: str) -> Turn | Reply:
        """The first answer, or the right to make it; raises `Problem` for an unusable key, `Away` if nobody knows."""
        key = key_in({HEADER: submission.idempotency_key or ""}) or ""
        if not self._is_prepared:
            await self._keys.prepare()
            self._is_prepared = True
        return await self._keys.begin(submission.client_id, key, _content(submission), lambda: job_id)

    async def finish(self, turn: Turn, reply: Reply) -> None:
        """Keep the answer. If that fails, a retry makes it again, with the same job."""
        with suppress(Away):
            await self._keys.finish(turn, reply)

    async def pause(self, turn: Turn) -> None:
        """Let a retry go on; if that fails, it may once the lease is over."""
        with suppress(Away):
            await self._keys.pause(turn)

    async def forget(self, turn: Turn) -> None:
        """Free the key; if that fails, it is free once the lease is over."""
        with suppress(Away):
            await self._keys.forget(turn)


def _content(submission: Submission) -> bytes:
    """All that the answer depends on: one key stands for one request to one address."""
    path = submission.path
    address = "\n".join((path.kind, path.user_id or "", path.mode or "", submission.site.channel or ""))
    return address.encode() + b"\n" + submission.body
