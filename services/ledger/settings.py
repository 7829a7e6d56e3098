"""Settings of the ledger and of its commands."""

import base64
import binascii

from pydantic import Field, SecretStr, field_validator

from services.chassis.runtime.settings import (
    ApiSettings,
    DeadLetterLimitSettings,
    EnvironmentSettings,
    ServiceSettings,
)
from services.chassis.security.backing_services import BackingServicesSettings

KEY_BYTES = 32


class ErasureSettings(EnvironmentSettings):
    """Key of the list of erased users."""

    erasure_key: SecretStr = Field(
        description="Key by which erased users are recognised without being named, 32 bytes in base64; never changes."
    )

    @field_validator("erasure_key")
    @classmethod
    def _is_key(cls, value: SecretStr) -> SecretStr:
        try:
            key = base64.b64decode(value.get_secret_value().strip(), validate=True)
        except binascii.Error:
            raise ValueError("must be base64") from None
        if len(key) != KEY_BYTES:
            raise ValueError(f"must have {KEY_BYTES} bytes")
        return value

    @property
    def erasure_secret(self) -> bytes:
        """The key."""
        return base64.b64decode(self.erasure_key.get_secret_value().strip())


class Settings(
    ServiceSettings,
    ApiSettings,
    BackingServicesSettings,
    DeadLetterLimitSettings,
    ErasureSettings,
):
    """Settings of the ledger service."""

    ledger_requests_per_second: int = Field(50, ge=1, description="Ledger requests a client may send in any second.")
    page_token_key: SecretStr = Field(
        SecretStr("tillstream-page-tokens"),
        min_length=16,
        description="Signs page tokens; the same in all replicas and at every start. Tokens hold positions only.",
    )
    ledger_retention_days: int = Field(
        1_096, ge=1, description="Days from the last change of an order or its returns until its entries are deleted."
    )
    ledger_audit_interval_s: float = Field(
        3_600.0,
        ge=0,
        allow_inf_nan=False,
        description="Interval at which one replica compares all sums with all entries; 0 to do so by command only.",
    )
    validator_group: str = Field("validator", min_length=1, description="Consumer group of the validators.")
