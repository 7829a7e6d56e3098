"""Settings of auth."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from services.chassis.http.source_address import ProxySettings
from services.chassis.runtime.settings import ApiSettings, KafkaSettings, MongoSettings, ServiceSettings, TokenSettings

KEY_BYTES = 32


class AuthSettings(ServiceSettings, ApiSettings, ProxySettings, KafkaSettings, MongoSettings, TokenSettings):
    """Settings of auth."""

    auth_key_encryption_key: SecretStr = Field(
        description="Key that encrypts the stored signing keys: 32 random bytes in Base64, the same for all replicas."
    )
    auth_public_url: str = Field("", description="Public base URL in the published metadata; empty: the issuer.")
    allow_query_secrets: bool = Field(
        True,  # noqa: FBT003 - a default
        description="Whether client secrets are accepted in query strings; answered with a `Deprecation` header.",
    )
    admin_host: str = Field("127.0.0.1", description="Address of the admin API; must not be reachable by customers.")
    admin_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the admin API; empty disables it, 0 picks a free port."
    )
    signing_key_lifetime_days: int = Field(90, ge=1, description="Days that a signing key signs before the next one.")

    @field_validator("auth_key_encryption_key")
    @classmethod
    def _validate_key(cls, value: SecretStr) -> SecretStr:
        try:
            is_key = len(base64.b64decode(value.get_secret_value(), validate=True)) == KEY_BYTES
        except binascii.Error:
            is_key = False
        if not is_key:
            raise ValueError(f"must be {KEY_BYTES} bytes in Base64")
        return value

    @property
    def encryption_key(self) -> bytes:
        """The key that encrypts the stored signing keys."""
        return base64.b64decode(self.auth_key_encryption_key.get_secret_value())
