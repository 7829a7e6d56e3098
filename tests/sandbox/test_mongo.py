"""A replica set of one's own: what was acknowledged survives a kill, also when it comes back elsewhere."""

from pathlib import Path
from typing import Any

from pymongo import MongoClient

from sandbox.mongo import MongoSet


def test_documents_survive_a_kill_and_other_ports(tmp_path: Path) -> None:
    with MongoSet(tmp_path) as first:
        with _client(first) as client:
            client["kept"]["things"].insert_one({"_id": 1})
        first.kill()
    with MongoSet(tmp_path) as second, _client(second) as client:
        assert second.ports != first.ports
        assert client["kept"]["things"].find_one() == {"_id": 1}
    assert not second.is_running


def _client(replica_set: MongoSet) -> "MongoClient[dict[str, Any]]":
    return MongoClient(replica_set.uri, w="majority", journal=True)
