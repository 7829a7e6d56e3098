"""Settings of webhooks."""

from pydantic import Field, SecretStr, field_validator

from services.chassis.runtime.settings import (
    ApiSettings,
    DeadLetterLimitSettings,
    EnvironmentSettings,
    HttpUrl,
    ServiceSettings,
)
from services.chassis.runtime.smtp import parse_smtp_url
from services.chassis.security.backing_services import BackingServicesSettings
from services.chassis.security.keyed_cipher import parse_keys


class SecretSealerSettings(EnvironmentSettings):
    """Keys that encrypt the secrets of endpoints."""

    webhooks_encryption_keys: SecretStr = Field(
        description="Keys that encrypt the secrets of endpoints, 32 bytes each in base64, comma-separated; the first "
        "one encrypts."
    )

    @field_validator("webhooks_encryption_keys")
    @classmethod
    def _are_encryption_keys(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value


class Settings(
    SecretSealerSettings,
    ServiceSettings,
    ApiSettings,
    BackingServicesSettings,
    DeadLetterLimitSettings,
):
    """Settings of the webhooks service."""

    webhooks_signing_keys: SecretStr = Field(
        description="Seeds of the Ed25519 keys that sign requests to endpoints, 32 bytes each in base64, "
        "comma-separated; all sign."
    )
    webhooks_allow_loopback: bool = Field(
        default=False, description="Whether endpoints may have loopback addresses, with http and any port: for tests."
    )
    webhooks_proxy_url: HttpUrl | None = Field(
        None,
        description="Proxy for requests to endpoints; it must refuse internal addresses, since it resolves the names.",
    )
    webhooks_max_in_flight: int = Field(
        16, ge=1, le=1_000, description="Requests to one endpoint that may be in progress at the same time."
    )
    webhooks_lease_s: float = Field(
        10.0,
        ge=5,
        le=300,
        description="Time after which another replica continues for one that has died. Leases are renewed three times "
        "in it.",
    )
    webhooks_retention_days: int = Field(30, ge=1, description="Days for which events and deliveries are kept.")
    webhooks_requests_per_second: int = Field(50, ge=1, description="Requests a client may send in any second.")
    webhooks_max_waiters: int = Field(2_000, ge=0, description="Readers of feeds that may wait at the same time.")
    body_timeout_s: float = Field(10.0, gt=0, description="Maximum time a client may take to send a body.")
    page_token_key: SecretStr = Field(
        SecretStr("tillstream-page-tokens"),
        min_length=16,
        description="Signs page tokens; the same in all replicas and at every start. Tokens hold positions only.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server, `smtp://user:password@host:port` or `smtps://…`; without it, mails are kept.",
    )
    mail_from: str = Field("webhooks@tillstream.example", description="Sender address of mails about endpoints.")

    @field_validator("webhooks_signing_keys")
    @classmethod
    def _are_signing_keys(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_smtp_url(value.get_secret_value())
        return value
