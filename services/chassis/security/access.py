"""What a service needs to authenticate its callers: sites, revocations and the issuer's keys."""

from collections.abc import Sequence

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Component
from services.chassis.runtime.settings import KafkaSettings, TokenSettings
from services.chassis.security.authentication import RequestAuthenticator
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
    ) -> None:
        """Tokens must be issued for `audience`; the topics are read under `client_id`."""
        self.sites = Sites(schemas)
        revoked = Revocations(schemas)
        self._sites_table = CompactedTable(kafka, sites.name, self.sites.apply, client_id=client_id)
        self._revocations_table = CompactedTable(kafka, revocations.name, revoked.apply, client_id=client_id)
        self.verifier = TokenVerifier(
            issuer=tokens.auth_issuer,
            audience=audience,
            jwks_url=tokens.auth_jwks_url,
            algorithm=tokens.auth_algorithm,
            refresh_s=tokens.auth_jwks_refresh_s,
            is_revoked=revoked.is_revoked,
            revocations_loaded=lambda: self.sites_loaded and self._revocations_table.ready,
        )
        self.authenticator = RequestAuthenticator(self.verifier, self.sites)

    @property
    def sites_loaded(self) -> bool:
        """Whether all sites are known that existed when the service started."""
        return self._sites_table.ready

    @property
    def components(self) -> Sequence[Component]:
        """Components to start and stop with the service."""
        return self._sites_table, self._revocations_table, self.verifier

    def register_health_checks(self, health: Health) -> None:
        """Keep the service unready until it can authenticate its callers."""
        health.ready_when("sites", lambda: self.sites_loaded)
        health.ready_when("revocations", lambda: self._revocations_table.ready)
        health.ready_when("keys", lambda: self.verifier.ready)
