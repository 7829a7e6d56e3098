"""Settings of the operator's commands."""

from pydantic import Field

from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings


class CliSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the commands in `services/cli`."""

    topic_partitions: int = Field(12, ge=1, le=1000, description="Partitions of a newly created topic.")
    topic_replication_factor: int = Field(1, ge=1, le=7, description="Replicas of a newly created topic.")
    topic_min_insync_replicas: int = Field(
        1, ge=1, le=7, description="Replicas that must have a record before Kafka acknowledges it."
    )
