"""Settings of ingest."""

from typing import Literal

from pydantic import Field

from services.chassis.http.source_address import ProxySettings
from services.chassis.runtime.settings import (
    ApiSettings,
    HttpUrl,
    KafkaSettings,
    MongoSettings,
    RateLimitSettings,
    ServiceSettings,
    TokenSettings,
)

MIB = 1024 * 1024


class Settings(
    ServiceSettings, ApiSettings, ProxySettings, KafkaSettings, MongoSettings, TokenSettings, RateLimitSettings
):
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
    validator_url: HttpUrl = Field(
        "http://127.0.0.1:8002", description="Internal API of the validator, which judges imports with `validateOnly`."
    )
    validator_timeout_s: float = Field(
        5.0, gt=0, le=10.0, description="Maximum time in seconds for the validator to judge; beyond it, 503."
    )
    validate_only_records_per_second: int | None = Field(
        None,
        ge=1,
        description="Limit of the records that a site may send with `validateOnly` in any second, beside its limit "
        "of imported records; without it both share the site's limit.",
    )
    max_bytes_in_flight: int = Field(
        128 * MIB, ge=32 * MIB, description="Memory in bytes for the request bodies in flight; beyond it, 503."
    )
    max_bytes_in_flight_per_client: int = Field(
        48 * MIB, ge=20 * MIB, description="Memory in bytes for a client's request bodies in flight; beyond it, 429."
    )
