"""What ingest can be told."""

from typing import Literal

from pydantic import Field

from services.chassis.settings import ApiSettings, KafkaSettings, ServiceSettings, TokenSettings


class Settings(ServiceSettings, ApiSettings, KafkaSettings, TokenSettings):
    """Settings of the ingest service."""

    import_accepted_status: Literal[200, 202] = Field(
        202, description="Status of an accepted import; 200 serves clients that insist on it."
    )
    strict_json: bool = Field(default=False, description="Refuse a stray bracket after the body instead of noting it.")
    require_gzip: bool = Field(default=False, description="Refuse POST bodies that are not gzip.")
    body_timeout_s: float = Field(10.0, gt=0, description="Longest time a client may take to send a body.")
