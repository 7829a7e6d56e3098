"""Settings of ingest."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from services.chassis.http.source_address import ProxySettings
from services.chassis.runtime.settings import ApiSettings, KafkaSettings, MongoSettings, ServiceSettings, TokenSettings

RATE_LIMIT_SCHEMES = ("valkey://", "valkeys://", "redis://", "rediss://", "unix://")


class Settings(ServiceSettings, ApiSettings, ProxySettings, KafkaSettings, MongoSettings, TokenSettings):
    """Settings of the ingest service."""

    import_accepted_status: Literal[200, 202] = Field(
        202, description="Status of an accepted import; 200 is for clients that require it."
    )
    strict_json: bool = Field(
        default=False, description="Refuse a stray bracket after the body instead of returning a note about it."
    )
    require_gzip: bool = Field(default=False, description="Refuse POST bodies that are not gzip-compressed.")
    body_timeout_s: float = Field(
        10.0, gt=0, le=10.0, description="Maximum time in seconds for a client to send a request body."
    )
    rate_limit_url: SecretStr | None = Field(
        None,
        description="Valkey or Redis that stores the rate limit for all replicas, `valkey://host:port/0`; without it "
        "each replica limits on its own.",
    )

    @field_validator("rate_limit_url")
    @classmethod
    def _validate_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(RATE_LIMIT_SCHEMES):
            raise ValueError(f"must start with one of {', '.join(RATE_LIMIT_SCHEMES)}")
        return value
