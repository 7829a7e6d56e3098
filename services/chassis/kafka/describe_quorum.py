"""Kafka's DescribeQuorum request, which aiokafka lacks. Its response contains the current time of a controller.

No other request reports the cluster's time, unless it produces a record.
"""

from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

CLUSTER_AUTHORIZATION_FAILED = 31
_METADATA_TOPIC = "__cluster_metadata"

_REPLICAS = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    ("tags", TaggedFields),
)


class _ResponseV1(Response):  # type: ignore[misc]
    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _RequestV1(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = _ResponseV1
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition_index", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequest(Request[_RequestV1]):  # type: ignore[misc]
    """Asks for the state of the quorum that holds the cluster's metadata."""

    API_KEY = 55

    def build(self, request_struct_class: type[_RequestV1]) -> _RequestV1:
        """Build the request in the negotiated version."""
        return request_struct_class([(_METADATA_TOPIC, [(0, {})], {})], {})


def error_code(response: Any) -> int:
    """Return the first error code of the response; 0 if there is none."""
    codes = [partition["error_code"] for topic in response["topics"] for partition in topic["partitions"]]
    return next((code for code in (response["error_code"], *codes) if code), 0)


def leader_time_s(response: Any) -> float:
    """Return the leader's time in seconds since 1970.

    The response has the time of each member's last fetch. The leader fetches from nobody: its entry has the current
    time.
    """
    (partition,) = response["topics"][0]["partitions"]
    leader = next(voter for voter in partition["current_voters"] if voter["replica_id"] == partition["leader_id"])
    return float(leader["last_fetch_timestamp"]) / 1000
