"""What auth can be told."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from services.auth.domain.source_address import parse_networks
from services.chassis.runtime.settings import ApiSettings, KafkaSettings, MongoSettings, ServiceSettings, TokenSettings

KEY_BYTES = 32


class AuthSettings(ServiceSettings, ApiSettings, KafkaSettings, MongoSettings, TokenSettings):
    """Settings of auth."""

    auth_key_encryption_key: SecretStr = Field(
        description="Key that the signing keys are kept under: 32 random bytes in Base64, the same for all replicas."
    )
    auth_public_url: str = Field(
        "", description="Address of the front door in the published metadata; the issuer where it is empty."
    )
    allow_query_secrets: bool = Field(
        True,  # noqa: FBT003 - a default
        description="Whether client secrets may stand in a query string; answered with a `Deprecation` header.",
    )
    trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128", description="Networks of the proxies whose `X-Forwarded-For` is believed."
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin API; never one that customers reach.")
    admin_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the admin API; without it there is none, 0 picks a free one."
    )
    signing_key_lifetime_days: int = Field(90, ge=1, description="How long a signing key signs before the next does.")

    @field_validator("auth_key_encryption_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        try:
            fits = len(base64.b64decode(value.get_secret_value(), validate=True)) == KEY_BYTES
        except binascii.Error:
            fits = False
        if not fits:
            raise ValueError(f"must be {KEY_BYTES} bytes in Base64")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @property
    def encryption_key(self) -> bytes:
        """The key that signing keys are kept under."""
        return base64.b64decode(self.auth_key_encryption_key.get_secret_value())
