"""Settings of the operator's API."""

from pydantic import Field

from services.chassis.http.source_address import ProxySettings
from services.chassis.runtime.settings import ApiSettings, KafkaSettings, MongoSettings, ServiceSettings, TokenSettings


class Settings(ServiceSettings, ApiSettings, KafkaSettings, MongoSettings, TokenSettings, ProxySettings):
    """Settings of the operator service."""

    operator_audit_days: int = Field(
        365, ge=1, le=3_650, description="Days for which replays and the audit trail are kept."
    )
    operator_max_scanned: int = Field(
        50_000,
        ge=1,
        le=1_000_000,
        description="Records of the dead-letter topics that one look at the groups reads, the newest ones.",
    )
