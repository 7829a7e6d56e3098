"""What a service needs to authenticate its callers: sites, revocations and the issuer's keys."""

from collections.abc import Callable, Sequence

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.compacted_table import CHECK_INTERVAL_S, Apply, CompactedTable
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Component
from services.chassis.runtime.settings import KafkaSettings, TokenSettings
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.jwks import Jwks
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import TokenVerifier


class RequestSecurity:
    """Sites and revocations from their topics, and a token verifier and request authenticator that use both.

    Add `components` to the service's, and register the health checks.
    """

    def __init__(
        self,
        schemas: Schemas,
        *,
        kafka: KafkaSettings,
        tokens: TokenSettings,
        sites: Topic,
        revocations: Topic,
        audience: str,
        client_id: str,
        now: Callable[[], float],
    ) -> None:
        """Tokens must be issued for `audience`; the topics are read under `client_id`.

        `now` is the brokers' time, by which auth issues tokens: a wrong local clock would refuse them.
        """
        self.sites = Sites(schemas)
        revoked = Revocations(schemas)
        self._max_staleness_s = tokens.auth_max_staleness_s

        def read_table(topic: Topic, apply: Apply) -> CompactedTable:
            interval_s = min(CHECK_INTERVAL_S, self._max_staleness_s / 3)
            return CompactedTable(kafka, topic.name, apply, client_id=client_id, check_interval_s=interval_s)

        self._sites_table = read_table(sites, self.sites.apply)
        self._revocations_table = read_table(revocations, revoked.apply)
        self._keys = Jwks(tokens.auth_jwks_url, tokens.auth_algorithm, refresh_s=tokens.auth_jwks_refresh_s)
        self.verifier = TokenVerifier(
            self._keys,
            issuer=tokens.auth_issuer,
            audience=audience,
            is_revoked=revoked.is_revoked,
            now=now,
            revocations_loaded=lambda: self.sites_loaded and self._revocations_table.ready,
        )
        self.authenticator = RequestAuthenticator(
            self.verifier, self.sites, must_refuse=self._is_stale if tokens.auth_refuse_when_stale else None
        )

    @property
    def sites_loaded(self) -> bool:
        """Whether all sites are known that existed when the service started."""
        return self._sites_table.ready

    @property
    def components(self) -> Sequence[Component]:
        """Components to start and stop with the service."""
        return self._sites_table, self._revocations_table, self._keys

    def register_health_checks(self, health: Health) -> None:
        """Keep the service unready until it can authenticate its callers, and while it may lack revocations or sites.

        Cut off from Kafka, it gets no revocations: after `auth_max_staleness_s` it is not ready.
        """
        health.ready_when("sites", lambda: self._is_current(self._sites_table))
        health.ready_when("revocations", lambda: self._is_current(self._revocations_table))
        health.ready_when("keys", lambda: self._keys.ready)

    def _is_stale(self) -> bool:
        return not (self._is_current(self._sites_table) and self._is_current(self._revocations_table))

    def _is_current(self, table: CompactedTable) -> bool:
        return table.ready and table.staleness_s <= self._max_staleness_s
