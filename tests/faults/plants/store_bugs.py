"""Planted bugs around MongoDB: concerns, conditions, unique indexes, order of writes."""

from tests.faults.plants.plant import Edit, Plant, Pytest, Simulation

JOB_STORE = "services/status/adapters/job_store.py"
JOB_DOCUMENTS = "services/status/adapters/job_documents.py"
STOCK = "services/fulfilment/adapters/stock.py"
TRANSACTIONS = "services/fulfilment/adapters/transactions.py"
ORDERS = "services/fulfilment/adapters/purchase_orders.py"
CLOSE = "services/fulfilment/flows/close_day.py"
OUTBOX = "services/chassis/mongodb/outbox.py"
KEYS = "services/chassis/http/idempotency.py"

PLANTS = (
    Plant(
        "writes that a majority need not have",
        "I1",
        Simulation("elections", ("I1", "I5", "I6", "I7", "I2")),
        [Edit("services/chassis/mongodb/client.py", 'WriteConcern(w="majority", j=True)', "WriteConcern(w=1)")],
    ),
    Plant(
        "status does not wait for a majority of what others wrote",
        "I7",
        Simulation("rollbacks", ("I7", "I1", "I9", "I4"), 120),
        [Edit(JOB_STORE, 'majority = ReadConcern("majority")', 'majority = ReadConcern("local")')],
    ),
    Plant(
        "pages show what is not published yet",
        "I4",
        Pytest(["tests/status/test_unpublished.py"]),
        [
            Edit(
                "services/status/flows/queries.py",
                "builder.add_block(published_part(block, job.chunk_tallies[block.number]))",
                "builder.add_block(block)",
            )
        ],
    ),
    Plant(
        "an entity tag without the version's time",
        "I4",
        Pytest(["tests/status/test_entity_tags.py"]),
        [
            Edit(
                "services/status/http/responses.py",
                "return f'\"{job.shown_version}.{job.last_us:x}\"'",
                "return f'\"{job.shown_version}\"'",
            )
        ],
    ),
    Plant(
        "codes shown at local read concern",
        "I5",
        Simulation("rollbacks", ("I5",), 150),
        [
            Edit(
                STOCK,
                "cursor = self._majority.find(_in_line(transaction_id, line), _SLOT_AND_CODE_FIELDS)",
                "cursor = self._codes.find(_in_line(transaction_id, line), _SLOT_AND_CODE_FIELDS)",
            )
        ],
    ),
    Plant(
        "outbox read at local read concern",
        "I2",
        Simulation("rollbacks", ("I2", "I6"), 150),
        [Edit(OUTBOX, 'majority = ReadConcern("majority")', 'majority = ReadConcern("local")')],
    ),
    Plant(
        "receipts of erasures read at local read concern",
        "I9",
        Pytest(["tests/ledger/test_majority_reads.py"]),
        [Edit("services/ledger/adapters/erasures.py", 'ReadConcern("majority")', 'ReadConcern("local")')],
    ),
    Plant(
        "a rate limit on the wall clock",
        "F20",
        Pytest(["tests/chassis/http/test_rate_limit.py"]),
        [
            Edit("services/chassis/http/rate_limit.py", "from time import monotonic\n", "from time import time\n"),
            Edit(
                "services/chassis/http/rate_limit.py",
                "clock: Callable[[], float] = monotonic, max_keys",
                "clock: Callable[[], float] = time, max_keys",
            ),
        ],
    ),
    Plant(
        "a job that is updated whatever its version is",
        "I1",
        Pytest(["tests/status/test_job_store.py", "tests/status/test_fuzz.py"]),
        [
            Edit(
                JOB_DOCUMENTS,
                '{"stored.state.version": change.expected_version}',
                '{"stored.state.version": {"$gte": 0}}',
            )
        ],
    ),
    Plant(
        "a chunk that is updated whatever its version is",
        "I1",
        Pytest(["tests/status/test_job_store.py", "tests/status/test_fuzz.py"]),
        [
            Edit(
                JOB_DOCUMENTS,
                '"version": change.expected_version}\n    added',
                '"version": {"$gte": 0}}\n    added',
            )
        ],
    ),
    Plant(
        "an insert that takes another's job for its own",
        "I1",
        Simulation("all", ("I1", "I7", "I3")),
        [
            Edit(
                JOB_STORE,
                "                return duplicate_positions(error)",
                "                duplicate_positions(error)",
            )
        ],
    ),
    Plant(
        "the last outcome wins",
        "I9",
        Pytest(["tests/status/test_fuzz.py", "tests/status/test_domain.py"]),
        [
            Edit(
                "services/status/domain/block.py",
                "new if old == UNDECIDED else UNDECIDED for old, new in zip(span, claimed, strict=True))",
                "new for old, new in zip(span, claimed, strict=True))",
            )
        ],
    ),
    Plant(
        "a chunk published before it is written",
        "I7",
        Simulation("pages", ("I7", "I1", "I4", "I9", "I3")),
        [
            Edit(
                "services/status/flows/apply_events.py",
                "    blocks = await _write_chunks(job, split_by_chunk(update.runs, job.profile.total), deps)\n"
                "    await _publish(job, list(blocks.values()), deps)\n",
                "    empty = {n: _empty_chunk(job, n) for n in split_by_chunk(update.runs, job.profile.total)}\n"
                "    merged = _merge_chunks(job, empty, split_by_chunk(update.runs, job.profile.total))\n"
                "    await _publish(job, [change.block for change in merged.values()], deps)\n"
                "    await _write_chunks(job, split_by_chunk(update.runs, job.profile.total), deps)\n",
            )
        ],
    ),
    Plant(
        "no unique index on slots",
        "I5",
        Simulation("codes", ("I5",), 100),
        [
            Edit(
                STOCK,
                'create_unique_index(self._codes, [("slot", 1)], name="slot", sparse=True)',
                'self._codes.create_index([("slot", 1)], name="slot", sparse=True)',
            )
        ],
    ),
    Plant(
        "a code that is sold although it is not available",
        "I5",
        Simulation("codes", ("I5",)),
        [
            Edit(
                STOCK,
                'conditions = {"sku": sku, "available": True, "_id": part}',
                'conditions = {"sku": sku, "_id": part}',
            )
        ],
    ),
    Plant(
        "several codes for one unit",
        "I5",
        Simulation("codes", ("I5",)),
        [Edit(STOCK, '"$set": {"slot": slot,', '"$set": {"slot": slot + str(now_us),')],
    ),
    Plant(
        "a batch that sells codes although they are not available",
        "I5",
        Simulation("codes", ("I5",), 100),
        [Edit(STOCK, '"_id": digests[slot], "available": True}', '"_id": digests[slot]}')],
    ),
    Plant(
        "one sequence number for all orders of a batch",
        "I6",
        Pytest(["tests/fulfilment/test_batches.py"]),
        [Edit(ORDERS, "return range(last - count + 1, last + 1)", "return [last] * count")],
    ),
    Plant(
        "a save that another writer has won counts as ours",
        "I5",
        Pytest(["tests/fulfilment/test_batches.py"]),
        [Edit(TRANSACTIONS, "if result.matched_count == len(saves):", "if result.matched_count:")],
    ),
    Plant(
        "counts that overwrite newer ones",
        "I5",
        Simulation("codes", ("I5",), 100),
        [
            Edit(
                "services/fulfilment/wire/documents.py",
                'return {"_id": transaction.id, "version": previous_version}, update',
                'return {"_id": transaction.id}, update',
            )
        ],
    ),
    Plant(
        "no unique index on order numbers",
        "I6",
        Simulation("messages", ("I6",), 100),
        [
            Edit(
                TRANSACTIONS,
                'create_unique_index(self._transactions, unique_number, name="unique_order_number", sparse=True)',
                'self._transactions.create_index(unique_number, name="unique_order_number", sparse=True)',
            ),
            Edit(
                "services/fulfilment/flows/place_order.py",
                "    if first is None:\n        return None\n",
                "    if True:\n        return None\n",
            ),
        ],
    ),
    Plant(
        "a purchase order that takes transactions after its day",
        "I6",
        Simulation("codes", ("I6",), 100),
        [
            Edit(
                ORDERS,
                'is_open, increment = {"_id": order.id, "state": PurchaseOrderState.OPEN}, {"$inc"',
                'is_open, increment = {"_id": order.id}, {"$inc"',
            ),
            Edit(
                "services/fulfilment/flows/place_order.py",
                "day = business_date(order.received_us, order.customer.time_zone)",
                "day = date(2026, 9, 21) if order.received_us > 1_790_000_000_000_000 else date.today()",
            ),
        ],
    ),
    Plant(
        "an invoice without the transactions of others",
        "I6",
        Simulation("codes", ("I6",)),
        [
            Edit(
                CLOSE,
                "        merged.add(transaction)\n    if merged.transactions:",
                "        merged.add(transaction)\n        break\n    if merged.transactions:",
            )
        ],
    ),
    Plant(
        "a closed day without an invoice",
        "I6",
        Simulation("codes", ("I6",)),
        [Edit(CLOSE, "        await _issue(draft, deps)\n    await", "        del draft\n    await")],
    ),
    Plant(
        "messages removed before they are delivered",
        "I6",
        Simulation("kills", ("I6", "I2"), 150),
        [
            Edit(
                OUTBOX,
                "        arrived = await self._deliver([one.message for one in pending])\n",
                "        await self._outbox.remove(pending)\n"
                "        arrived = await self._deliver([one.message for one in pending])\n",
            )
        ],
    ),
    Plant(
        "a retried request that gets another job",
        "I2",
        Simulation("messages", ("I2", "I6"), 100),
        [
            Edit(
                KEYS,
                "        except DuplicateKeyError:\n            return await self._existing",
                "        except DuplicateKeyError:\n            return Reservation(key_hash, resource_id, owner)\n"
                "            return await self._existing",
            )
        ],
    ),
    Plant(
        "a key that is replaced unnoticed",
        "I5",
        Pytest(["tests/chassis/mongodb/test_key_check.py"]),
        [
            Edit(
                "services/chassis/mongodb/key_check.py",
                "if stored is not None and not hmac.compare_digest(stored, expected):",
                "if stored is not None and hmac.compare_digest(stored, expected) is None:",
            )
        ],
    ),
)
