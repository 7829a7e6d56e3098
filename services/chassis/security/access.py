"""All that a service needs to judge its callers: the sites, what is revoked, and the issuer's keys."""

from collections.abc import Sequence

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Component
from services.chassis.runtime.settings import KafkaSettings, TokenSettings
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from services.chassis.security.tokens import TokenVerifier


class RequestSecurity:
    """Sites and revocations as their topics tell them, and a verifier of tokens that heeds both.

    Add `parts` to the service's, and let its health heed them, too.
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
        """`sites` and `revocations` are read as `client_id`; `audience` is whom tokens must be for."""
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

    @property
    def sites_loaded(self) -> bool:
        """Whether every site is known that there was when the service started."""
        return self._sites_table.ready

    @property
    def components(self) -> Sequence[Component]:
        """What is to be started and stopped with the service."""
        return self._sites_table, self._revocations_table, self.verifier

    def register_health_checks(self, health: Health) -> None:
        """A service is not ready before it can judge its callers."""
        health.ready_when("sites", lambda: self.sites_loaded)
        health.ready_when("revocations", lambda: self._revocations_table.ready)
        health.ready_when("keys", lambda: self.verifier.ready)
