"""What ingest can be told."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from services.chassis.runtime.settings import ApiSettings, KafkaSettings, MongoSettings, ServiceSettings, TokenSettings

STORES = ("valkey://", "valkeys://", "redis://", "rediss://", "unix://")


class Settings(ServiceSettings, ApiSettings, KafkaSettings, MongoSettings, TokenSettings):
    """Settings of the ingest service."""

    import_accepted_status: Literal[200, 202] = Field(
        202, description="Status of an accepted import; 200 serves clients that insist on it."
    )
    strict_json: bool = Field(default=False, description="Refuse a stray bracket after the body instead of noting it.")
    require_gzip: bool = Field(default=False, description="Refuse POST bodies that are not gzip.")
    body_timeout_s: float = Field(10.0, gt=0, le=10.0, description="Longest time a client may take to send a body.")
    rate_limit_url: SecretStr | None = Field(
        None,
        description="Valkey or Redis that holds the rate limit of several replicas, `valkey://host:port/0`; without it "
        "each replica limits for itself.",
    )

    @field_validator("rate_limit_url")
    @classmethod
    def _is_store(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(STORES):
            raise ValueError(f"must begin with one of {', '.join(STORES)}")
        return value
