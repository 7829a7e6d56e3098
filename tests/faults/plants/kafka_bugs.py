"""Planted bugs around Kafka: acknowledgements, offsets, duplicates, clocks."""

from tests.faults.plants.plant import Edit, Plant, Pytest, Simulation

PRODUCER = "services/chassis/kafka/producer.py"
CLIENT = "services/chassis/kafka/consumer_client.py"
VALIDATOR = "services/validator/adapters/publisher.py"
VALIDATOR_FLOW = "services/validator/flow.py"
INGEST = "services/ingest/adapters/publisher.py"
STATUS = "services/status/worker.py"
DIRECT = "services/ingest/http/direct.py"

PLANTS = (
    Plant(
        "replies before all replicas have the batch",
        "I1",
        Simulation("brokers", ("I1", "I3", "I7")),
        [Edit(PRODUCER, 'acks="all",', "acks=1,")],
    ),
    Plant(
        "replies before the broker has answered",
        "I1",
        Simulation("brokers", ("I1", "I3", "I7")),
        [Edit(PRODUCER, "await asyncio.shield(sent)", "await asyncio.sleep(0)")],
    ),
    Plant(
        "producer without sequence numbers",
        "I2",
        Simulation("messages", ("I2",)),
        [Edit(PRODUCER, "enable_idempotence=True", "enable_idempotence=False")],
    ),
    Plant(
        "producer that is not replaced when its sequence is stuck",
        "I3",
        Simulation("brokers", ("I1", "I3", "I6"), 30),
        [Edit(PRODUCER, "if stuck is None or self._current is not stuck:", "if stuck is not None:")],
    ),
    Plant(
        "offsets that the client commits by itself",
        "I7",
        Simulation("kills", ("I7", "I1")),
        [Edit(CLIENT, "enable_auto_commit=False", "enable_auto_commit=True")],
    ),
    Plant(
        "an offset beyond the last judged record",
        "I7",
        Simulation("kills", ("I7", "I1", "I3")),
        [
            Edit(
                "services/validator/worker.py",
                "poll[tp][count - 1].offset + 1 for tp",
                "poll[tp][count - 1].offset + 2 for tp",
            )
        ],
    ),
    Plant(
        "verdicts committed before they are acknowledged",
        "I7",
        Simulation("kills", ("I7", "I1")),
        [
            Edit(
                VALIDATOR_FLOW,
                "    await deps.publisher.publish(published, at_us=at_us)",
                "    import asyncio\n    asyncio.ensure_future(deps.publisher.publish(published, at_us=at_us))",
            )
        ],
    ),
    Plant(
        "a failed publication of verdicts that nobody notices",
        "I7",
        Simulation("brokers", ("I7", "I1", "I3")),
        [
            Edit(
                VALIDATOR,
                "            if isinstance(result, BaseException):\n                raise result\n        # Last",
                "            del result\n        # Last",
            )
        ],
    ),
    Plant(
        "no dead letter for a record that cannot be read",
        "I1",
        Simulation("all", ("I1",), 30),
        [Edit(VALIDATOR, "        if dead_letters:\n", "        if not dead_letters:\n")],
    ),
    Plant(
        "no job event for a record that cannot be read",
        "I1",
        Simulation("all", ("I1", "I3", "I7"), 30),
        [
            Edit(
                VALIDATOR,
                "return None if header is None else (header,",
                "return None if header is not None else (header,",
            )
        ],
    ),
    Plant(
        "a job is published without waiting for its records",
        "I1",
        Simulation("brokers", ("I1", "I3")),
        [
            Edit(
                INGEST,
                "        await self._send_job(job, acknowledgements)\n        await acknowledgements.wait()\n\n",
                "        await self._send_job(job, acknowledgements)\n\n",
            )
        ],
    ),
    Plant(
        "a PUT that is accepted although Kafka did not acknowledge it",
        "I1",
        Simulation("puts", ("I1",)),
        [Edit(DIRECT, "        if error is None:\n", "        if error is None or job:\n")],
    ),
    Plant(
        "a PUT that is accepted when a part of it is acknowledged",
        "I1",
        Simulation("puts", ("I1",), 100),
        [Edit(INGEST, "Acknowledgements(2, on_settled)", "Acknowledgements(1, on_settled)")],
    ),
    Plant(
        "a PUT that is declined and published all the same",
        "I2",
        Simulation("puts", ("I2",)),
        [
            Edit(
                "services/ingest/flows/accept_nowait.py",
                "partial(_settle, job, quota, on_settled))\n    return True",
                "partial(_settle, job, quota, on_settled))\n    return False",
            )
        ],
    ),
    Plant(
        "a job dated by the local clock",
        "I1",
        Simulation("clocks", ("I1",), 30),
        [
            Edit("services/ingest/app.py", "now_us=broker_clock.now_us,", "now_us=lambda: time.time_ns() // 1000,"),
            Edit(
                "services/ingest/app.py",
                '"""Composition root of ingest."""\n\n',
                '"""Composition root of ingest."""\n\nimport time\n\n',
            ),
        ],
    ),
    Plant(
        "jobs that expire while their records wait",
        "I1",
        Simulation("backlogs", ("I1",), 60),
        [
            Edit(
                "services/status/flows/expire_jobs.py",
                "if not overdue or not await deps.progress.is_caught_up(up_to_us=now_us - deadline_us):",
                "if not overdue:",
            )
        ],
    ),
    Plant(
        "events whose offsets are committed while they wait to be written",
        "I7",
        Simulation("kills", ("I7", "I1")),
        [
            Edit(
                STATUS,
                "pending = {partition: min(events) for partition, events in self._pending.items() if events}",
                "pending: dict[TopicPartition, int] = {}",
            )
        ],
    ),
    Plant(
        "events whose offsets are committed while they are written",
        "I7",
        Simulation("messages", ("I7", "I1")),
        [
            Edit(
                STATUS,
                "    def _on_failed(self, batch: WriteBatch) -> None:\n",
                "    def _on_failed(self, batch: WriteBatch) -> None:\n        return\n",
            )
        ],
    ),
    Plant(
        "a personal value in a log",
        "I10",
        Simulation("all", ("I10",), 30),
        [
            Edit(
                VALIDATOR_FLOW,
                "        reason=verdict.reason,\n        **({",
                "        reason=verdict.reason,\n        value=submitted.value,\n        **({",
            )
        ],
    ),
    Plant(
        "a partition that is never halted",
        "I1",
        Pytest(["tests/chassis/kafka/test_dead_letter_limit.py"]),
        [
            Edit(
                "services/chassis/kafka/dead_letter_limit.py",
                "        if allowed < total:\n            self._halted.add(partition)",
                "        if allowed > total:\n            self._halted.add(partition)",
            )
        ],
    ),
    Plant(
        "bytes behind a record that nobody sees",
        "I1",
        Pytest(["tests/avro", "tests/validator/test_record_reader.py"]),
        [Edit("services/avro/codec.py", "if end != len(data):", "if end > len(data):")],
    ),
    Plant(
        "a loss to retention that is not counted",
        "I1",
        Pytest(["tests/chassis/kafka/test_lag.py", "tests/chassis/kafka/test_consumer.py"]),
        [
            Edit(
                "services/chassis/kafka/lag.py",
                "LOST.labels(partition.topic).inc(beginning - position)",
                "LOST.labels(partition.topic).inc(0)",
            )
        ],
    ),
)
