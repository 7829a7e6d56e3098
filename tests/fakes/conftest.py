"""Fixtures of this suite."""

from tests.fakes.kafka_fixtures import kafka
from tests.fakes.mongodb_fixtures import client, database

__all__ = ["client", "database", "kafka"]
