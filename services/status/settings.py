"""Settings of status."""

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
    """Settings of the status service."""

    status_retention_days: int = Field(30, ge=1, description="Days from a job's first event until it is deleted.")
    status_requests_per_second: int = Field(50, ge=1, description="Status requests a client may send in any second.")
    status_max_waiters: int = Field(1_000, ge=0, description="Requests that may wait for a job at the same time.")
    status_linger_ms: int = Field(
        50, ge=0, le=1_000, description="Maximum time that an opened job waits for its first verdicts to be written."
    )
    page_token_key: SecretStr = Field(
        SecretStr("tillstream-page-tokens"),
        min_length=16,
        description="Signs page tokens; the same in all replicas and at every start. Tokens hold positions only.",
    )
    job_deadline_s: float = Field(900.0, gt=0, description="Time without progress after which a job expires.")
    validator_group: str = Field("validator", min_length=1, description="Consumer group of the validators.")
