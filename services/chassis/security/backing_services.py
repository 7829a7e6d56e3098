"""What a service with an API and a consumer needs: Kafka and its clock, MongoDB, auth, and the shared rate limit."""

from collections.abc import Sequence

from services.chassis.avro.schemas import Schemas
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.kafka.broker_clock import BrokerClock
from services.chassis.kafka.producer import Producer
from services.chassis.kafka.topic import Topic
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.health import Health
from services.chassis.runtime.lifecycle import Component
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, RateLimitSettings, TokenSettings
from services.chassis.security.access import RequestSecurity


class BackingServicesSettings(KafkaSettings, MongoSettings, TokenSettings, RateLimitSettings):
    """Where the backing services are."""


class BackingServices:
    """Connections to the backing services, not yet started.

    Add `components` to the service's, before those that use them, and register the health checks.
    """

    def __init__(
        self,
        settings: BackingServicesSettings,
        schemas: Schemas,
        *,
        name: str,
        audience: str,
        sites: Topic,
        revocations: Topic,
    ) -> None:
        """Kafka knows the service by its `name`; tokens must be issued for `audience`."""
        self.mongo = Mongo.connect(settings)
        self.producer = Producer(settings, client_id=name)
        self.broker_clock = BrokerClock(self.producer, max_offset_s=settings.kafka_max_clock_offset_s)
        # The same in all replicas, and steady when the local clock jumps.
        self.now_us = self.broker_clock.now_us
        self.security = RequestSecurity(
            schemas,
            kafka=settings,
            tokens=settings,
            sites=sites,
            revocations=revocations,
            audience=audience,
            client_id=name,
            now=self.broker_clock.now_s,
        )
        self.rate_limit = SharedRateLimit.from_settings(settings)

    def components(self, startup: StartupTask) -> Sequence[Component]:
        """Components to start and stop with the service; `startup` prepares the database."""
        return (
            self.mongo,
            startup,
            self.producer,
            self.broker_clock,
            *self.security.components,
            self.rate_limit,
        )

    def register_health_checks(self, health: Health, startup: StartupTask) -> None:
        """Keep the service unready until all are connected and the database is prepared."""
        health.ready_when("clock", lambda: self.broker_clock.ready)
        health.ready_when("kafka", lambda: self.producer.ready)
        health.ready_when("mongodb", lambda: startup.is_done and self.mongo.ready)
        self.security.register_health_checks(health)
