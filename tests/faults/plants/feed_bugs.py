"""Planted bugs of webhooks: events that are lost or shown too early, deliveries that are taken for done."""

from tests.faults.plants.plant import Edit, Plant, Simulation

APPEND = "services/webhooks/flows/append_events.py"
FEED = "services/webhooks/adapters/feed_store.py"
SEND = "services/webhooks/flows/send_events.py"

PLANTS = (
    Plant(
        "a feed that is read before a majority has it",
        "I4",
        Simulation("feed", ("I4", "I7", "I1"), 150),
        [Edit(FEED, 'majority = ReadConcern("majority")', 'majority = ReadConcern("local")')],
    ),
    Plant(
        "a sequence that is given before its event is stored",
        "I4",
        Simulation("feed", ("I4",), 100),
        [
            Edit(
                APPEND,
                "    deps.heads.pop(site, None)\n",
                "    deps.heads[site] = Head(head.sequence + len(part), recorded_us)\n",
            )
        ],
    ),
    Plant(
        "offsets committed before their events are in the feed",
        "I7",
        Simulation("feed", ("I7", "I1")),
        [
            Edit(
                "services/webhooks/worker.py",
                "        await append_events([event for events in decoded for event in events], self._deps)",
                "        import asyncio\n"
                "        asyncio.ensure_future(append_events([event for events in decoded for event in events],"
                " self._deps))",
            )
        ],
    ),
    Plant(
        "an event that is taken for known although it is not",
        "I7",
        Simulation("feed", ("I7", "I1"), 100),
        [Edit(APPEND, "if event.id not in known]", "if event.id not in known][1:]")],
    ),
    Plant(
        "no unique index on the events of a feed",
        "I4",
        Simulation("feed", ("I4",), 100),
        [
            Edit(
                FEED,
                'create_unique_index(self._events, [("event", 1)], name="event")',
                'create_index(self._events, [("event", 1)], name="event")',
            )
        ],
    ),
    Plant(
        "a delivery that is done before the receiver has answered",
        "I1",
        Simulation("feed", ("I1",)),
        [
            Edit(
                SEND,
                "            outcome = await self._post(work)\n",
                "            asyncio.ensure_future(self._post(work))\n"
                "            outcome = Outcome(at_us=self._deps.now_us(), latency_ms=0, status=204)\n",
            )
        ],
    ),
    Plant(
        "a position beyond events that are on their way",
        "I1",
        Simulation("feed", ("I1",), 100),
        [
            Edit(
                "services/webhooks/flows/sources.py",
                "return min(self._open) - 1 if self._open else self._read_to",
                "return self._read_to",
            )
        ],
    ),
    Plant(
        "an ordered endpoint that gets new events during its retries",
        "I4",
        Simulation("feed", ("I4",)),
        [
            Edit(
                "services/webhooks/flows/delivery_queue.py",
                "if retry is not None or (endpoint.is_ordered and self.retries.due_us is not None):",
                "if retry is not None:",
            )
        ],
    ),
)
