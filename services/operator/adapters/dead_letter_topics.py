"""The dead-letter topics, through what the command line uses as well."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from decimal import Decimal

import msgspec

from services.chassis.avro.record_decoder import DecodedRecord, decode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka import dead_letters as dlq
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.settings import KafkaSettings
from services.dead_letters.stored_dead_letters import (
    DeadLetterFilter,
    ReplayState,
    StoredDeadLetter,
    TooManyLettersError,
    find_dead_letter,
    index_dead_letters,
    read_batches,
    replay,
)
from services.operator import metrics
from services.operator.domain.dead_letter import DeadLetter, DecodedLetter, Findings, group_letters
from services.operator.domain.masking import mask
from services.operator.domain.replay import Count, Replay, Selection, TooManyMatchesError

# About half a kilobyte of memory each.
MAX_LETTERS = 100_000
# Amounts keep their digits.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class KafkaDeadLetterTopics:
    """The `DeadLetterTopics` in Kafka."""

    def __init__(
        self,
        settings: KafkaSettings,
        producer: Producer,
        schemas: Schemas,
        *,
        max_scanned: int,
        max_letters: int = MAX_LETTERS,
    ) -> None:
        self._settings, self._producer, self._schemas = settings, producer, schemas
        self._max_scanned, self._max_letters = max_scanned, max_letters

    async def find(self, selection: Selection) -> Findings:
        found, is_complete = await index_dead_letters(
            self._settings, _to_filter(selection), max_letters=self._max_scanned, newest=self._max_scanned
        )
        return Findings(groups=group_letters(map(_to_letter, found)), total=len(found), is_complete=is_complete)

    async def decode(self, name: str) -> DecodedLetter | None:
        stored = await find_dead_letter(self._settings, name)
        return None if stored is None else _decode(stored, self._schemas)

    async def count(self, selection: Selection) -> Count:
        found = await self._index(selection)
        ends: dict[str, int] = {}
        for letter in found:
            partition = f"{letter.topic}/{letter.partition}"
            ends[partition] = max(letter.offset + 1, ends.get(partition, 0))
        replayable = sum(letter.is_replayable for letter in found)
        replayed = sum(letter.state is ReplayState.REPLAYED for letter in found)
        return Count(
            matched=len(found),
            replayable=replayable,
            replayed_before=replayed,
            unreplayable=len(found) - replayable - replayed,
            ends=ends,
        )

    async def replay(self, replay_: Replay, may_continue: Callable[[int], Awaitable[bool]]) -> bool:
        found = await self._index(replay_.selection)
        counted = [each for each in found if each.offset < replay_.ends.get(f"{each.topic}/{each.partition}", 0)]
        replayed = sum(letter.replayed_by == replay_.id and letter.state is ReplayState.REPLAYED for letter in counted)
        if not await may_continue(replayed):
            return False
        pending = [letter for letter in counted if letter.is_replayable]
        async with aclosing(read_batches(self._settings, pending)) as batches:
            async for batch in batches:
                await replay(batch, settings=self._settings, producer=self._producer, marked_by=replay_.id)
                replayed += len(batch)
                metrics.REPLAYED.inc(len(batch))
                if not await may_continue(replayed):
                    return False
        return True

    async def _index(self, selection: Selection) -> list[StoredDeadLetter]:
        try:
            found, _ = await index_dead_letters(self._settings, _to_filter(selection), max_letters=self._max_letters)
        except TooManyLettersError:
            raise TooManyMatchesError from None
        return found


def _to_filter(selection: Selection) -> DeadLetterFilter:
    return DeadLetterFilter(
        reasons=frozenset(selection.reasons),
        topics=frozenset(selection.topics),
        groups=frozenset(selection.groups),
        # Kafka's timestamps are milliseconds.
        since_ms=None if selection.since_us is None else -(-selection.since_us // 1_000),
        until_ms=None if selection.until_us is None else -(-selection.until_us // 1_000),
    )


def _to_letter(stored: StoredDeadLetter) -> DeadLetter:
    attempts = stored.header(dlq.ATTEMPTS)
    return DeadLetter(
        name=stored.name,
        reason=stored.header(dlq.REASON),
        detail=stored.header(dlq.DETAIL),
        topic=stored.header(dlq.ORIGINAL_TOPIC),
        group=stored.header(dlq.CONSUMER_GROUP),
        source=stored.source,
        failed_at_us=stored.failed_at_ms * 1_000,
        attempts=int(attempts) if attempts.isdecimal() and len(attempts) < 6 else 0,
        state=str(stored.state),
        is_replayable=stored.is_replayable,
    )


def _decode(stored: StoredDeadLetter, schemas: Schemas) -> DecodedLetter:
    letter, size = _to_letter(stored), len(stored.value or b"")
    decoded = decode_record(stored.value, stored.headers, schemas)
    if not isinstance(decoded, DecodedRecord):
        # Its bytes may name somebody in a way that nobody can mask.
        return DecodedLetter(letter=letter, size=size, is_whole=stored.is_whole, problem=decoded)
    return DecodedLetter(
        letter=letter,
        size=size,
        is_whole=stored.is_whole,
        schema=decoded.schema,
        version=decoded.version,
        record=_mask_json(decoded.text),
    )


def _mask_json(text: str) -> str:
    return _ENCODER.encode(mask(_DECODER.decode(text))).decode()
