"""Settings of webhooks."""

from pydantic import Field, SecretStr

from services.chassis.runtime.settings import (
    ApiSettings,
    DeadLetterLimitSettings,
    KafkaSettings,
    MongoSettings,
    RateLimitSettings,
    ServiceSettings,
    TokenSettings,
)


class Settings(
    ServiceSettings,
    ApiSettings,
    KafkaSettings,
    MongoSettings,
    TokenSettings,
    RateLimitSettings,
    DeadLetterLimitSettings,
):
    """Settings of the webhooks service."""

    webhooks_retention_days: int = Field(30, ge=1, description="Days for which events and deliveries are kept.")
    webhooks_requests_per_second: int = Field(50, ge=1, description="Requests a client may send in any second.")
    webhooks_max_waiters: int = Field(2_000, ge=0, description="Readers of feeds that may wait at the same time.")
    page_token_key: SecretStr = Field(
        SecretStr("tillstream-page-tokens"),
        min_length=16,
        description="Signs page tokens; the same in all replicas. Tokens hold positions, never rights.",
    )
