"""A MongoDB collection that becomes unavailable after inserts."""

from typing import Any

from pymongo.errors import AutoReconnect


class InsertOnlyCollection:
    """Inserts into and finds in `collection`; it cannot be reached for updates and deletions."""

    def __init__(self, collection: Any) -> None:
        self.insert_one = collection.insert_one
        self.find_one = collection.find_one

    async def update_one(self, *_: object) -> None:
        raise AutoReconnect("closed")

    delete_one = update_one
