"""Settings of the validator."""

from pydantic import Field

from services.chassis.runtime.settings import ApiSettings, DeadLetterLimitSettings, KafkaSettings, ServiceSettings


class Settings(ServiceSettings, ApiSettings, KafkaSettings, DeadLetterLimitSettings):
    """Settings of the validator. Its API is internal: customers must not reach its port."""

    validator_group: str = Field("validator", min_length=1, description="Consumer group of the validators.")
    max_job_records: int = Field(
        100_000, ge=1, le=100_000, description="Maximum number of records in a job of a direct producer."
    )
