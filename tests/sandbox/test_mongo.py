"""An embedded replica set: acknowledged writes survive a kill, and a restart on other ports."""

from pathlib import Path
from typing import Any

from pymongo import MongoClient

from sandbox.mongo import ReplicaSet


def test_documents_survive_a_kill_and_other_ports(tmp_path: Path) -> None:
    with ReplicaSet(tmp_path) as first:
        with _client(first) as client:
            client["kept"]["things"].insert_one({"_id": 1})
        first.kill()
    with ReplicaSet(tmp_path) as second, _client(second) as client:
        assert second.ports != first.ports
        assert client["kept"]["things"].find_one() == {"_id": 1}
    assert not second.is_running


def _client(replica_set: ReplicaSet) -> "MongoClient[dict[str, Any]]":
    return MongoClient(replica_set.uri, w="majority", journal=True)
