"""Revoked tokens, in memory, from their compacted topic."""

from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schemas
from services.chassis.security.tokens import LEEWAY_S, LIFETIME_S, Token

MICROS = 1_000_000
PURGE_EVERY = 1_000
# A revocation ends at most this long after it was made: with the newest token that it can cover.
MAX_REVOCATION_S = LIFETIME_S + LEEWAY_S + 1


class Revocations:
    """Revoked tokens, and clients whose earlier tokens are revoked. `apply` is for the table that reads the topic."""

    def __init__(self, schemas: Schemas) -> None:
        self._records = AvroRecordReader(schemas, "revocation")
        # Expiry of each revocation, in seconds; for clients, after the instant before which tokens are revoked.
        self._tokens: dict[str, float] = {}
        self._clients: dict[str, tuple[float, float]] = {}
        self._applied = 0
        self._newest_until = 0.0

    def is_revoked(self, token: Token) -> bool:
        """Whether the token is revoked; cheap enough for every request."""
        if token.token_id in self._tokens:
            return True
        client = self._clients.get(token.client_id)
        return client is not None and token.issued_at < client[0]

    def has_token(self, token_id: str) -> bool:
        """Whether this token is revoked by its id."""
        return token_id in self._tokens

    def issued_before(self, client_id: str) -> float:
        """Return the instant before which the client's tokens were revoked, or 0."""
        return self._clients.get(client_id, (0.0, 0.0))[0]

    def __len__(self) -> int:
        return len(self._tokens) + len(self._clients)

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply one record of the topic; raises `ValueError` without any change if it is invalid.

        A tombstone has no effect: revocations expire by themselves.
        """
        del key
        if value is None:
            return
        read = self._records.read(value)
        until = read["until"] / MICROS
        if read["tokenId"] is not None:
            self._tokens[read["tokenId"]] = until
        if read["clientId"] is not None and read["issuedBefore"] is not None:
            before = max(read["issuedBefore"] / MICROS, self.issued_before(read["clientId"]))
            self._clients[read["clientId"]] = (before, until)
        self._newest_until = max(self._newest_until, until)
        self._applied += 1
        if self._applied % PURGE_EVERY == 0:
            self._purge()

    def _purge(self) -> None:
        """Drop revocations of tokens that have expired.

        By the topic's own times: a local clock that is ahead for a while would drop revocations of valid tokens.
        """
        now = self._newest_until - MAX_REVOCATION_S
        self._tokens = {token_id: until for token_id, until in self._tokens.items() if until > now}
        self._clients = {client_id: entry for client_id, entry in self._clients.items() if entry[1] > now}
