"""What the operator's commands can be told."""

from pydantic import Field

from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings


class OperatorSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the operator's other commands."""

    topic_partitions: int = Field(12, ge=1, le=1000, description="Partitions of a topic when it is created.")
    topic_replication_factor: int = Field(1, ge=1, le=7, description="Replicas of a topic when it is created.")
    topic_min_insync_replicas: int = Field(
        1, ge=1, le=7, description="Replicas that must have a record before it counts as written."
    )
