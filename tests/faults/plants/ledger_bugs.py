"""Planted bugs of the ledger: sums that are not those of the entries, sales that are lost or counted twice."""

from tests.faults.plants.plant import Edit, Plant, Simulation

RECORD = "services/ledger/flows/record_sales.py"
SUMS = "services/ledger/adapters/sums.py"
STORE = "services/ledger/adapters/ledger.py"
WORKER = "services/ledger/worker.py"

PLANTS = (
    Plant(
        "a changed order that is counted again",
        "I6",
        Simulation("sales", ("I6",)),
        [
            Edit(
                RECORD,
                "return new if before is None else difference(new, group_sums(before.group, zone))",
                "return new",
            )
        ],
    ),
    Plant(
        "movements that two replicas fold",
        "I6",
        Simulation("sales", ("I6",)),
        [
            Edit(
                SUMS,
                '        where = {"_id": {"$in": ids}, "folded": False}\n        found',
                '        where = {"_id": {"$in": ids}}\n        found',
            ),
            Edit(SUMS, "if result.modified_count != len(found):", "if result.matched_count > len(found):"),
        ],
    ),
    Plant(
        "sales whose offsets are committed while they are recorded",
        "I7",
        Simulation("sales", ("I7", "I6")),
        [
            Edit(
                WORKER,
                "        results = await asyncio.gather(*map(self._record_lane, lanes), return_exceptions=True)\n",
                "        asyncio.gather(*map(self._record_lane, lanes), return_exceptions=True)\n"
                "        results = ()\n",
            )
        ],
    ),
    Plant(
        "a movement that is stored although its entries are not",
        "I6",
        Simulation("sales", ("I6",)),
        [
            Edit(
                STORE,
                "        await self._write(MOVEMENTS, [InsertOne(documents.movement_document(movement))])\n",
                "        await self._mongo.collection(MOVEMENTS).insert_one(documents.movement_document(movement))\n",
            )
        ],
    ),
    Plant(
        "a transaction that is taken for committed when its outcome is unknown",
        "I7",
        Simulation("sales", ("I7", "I6")),
        [
            Edit(
                "services/chassis/mongodb/client.py",
                "                await session.commit_transaction()\n",
                "                with suppress(ConnectionFailure):\n"
                "                    await session.commit_transaction()\n",
            )
        ],
    ),
)
