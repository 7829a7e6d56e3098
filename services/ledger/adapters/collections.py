"""The ledger's collections and their indexes."""

from services.chassis.mongodb.client import Mongo, create_index

ENTRIES = "ledger_entries"
SUMS = "ledger_sums"
MOVEMENTS = "ledger_movements"
BOOKS = "ledger_books"
PARTITIONS = "ledger_partitions"
ERASURES = "ledger_erasures"
TURNS = "ledger_turns"

# By name. Only unusual entries have `others`.
_INDEXES: dict[str, dict[str, list[tuple[str, int]]]] = {
    ENTRIES: {
        "user": [("user", 1), ("position", -1)],
        "site": [("site", 1), ("position", -1)],
        "changed": [("changed", 1)],
        "others": [("others", 1)],
        "group": [("group", 1)],
    },
    SUMS: {"months": [("site", 1), ("generation", 1), ("family", 1), ("month", 1)]},
    MOVEMENTS: {"folded": [("folded", 1)]},
    # Creates the collections, which a transaction would otherwise do.
    BOOKS: {"_id_": [("_id", 1)]},
    PARTITIONS: {"_id_": [("_id", 1)]},
    ERASURES: {"receipt": [("receipt", 1)], "state": [("state", 1)]},
}
_SPARSE = frozenset({"others", "group", "changed"})


async def create_indexes(mongo: Mongo) -> None:
    """Create the indexes; raises `UnavailableError`."""
    for collection, indexes in _INDEXES.items():
        for name, keys in indexes.items():
            options = {"sparse": True} if name in _SPARSE else {}
            await create_index(mongo.collection(collection), keys, name=name, **options)
