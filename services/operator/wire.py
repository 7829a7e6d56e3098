"""The documents of the API."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.operator.domain.audit import AuditEntry
from services.operator.domain.dead_letter import DeadLetter, DecodedLetter, Findings, LetterGroup
from services.operator.domain.replay import Replay, Selection
from services.operator.domain.topic import TopicView
from services.values.instants import format_utc


def time_to_json(us: int | None) -> str | None:
    """Return an instant in UTC, with milliseconds."""
    return None if us is None else format_utc(us, digits=3)


def topic_to_json(topic: TopicView, *, now_us: int) -> dict[str, Any]:
    """Return one topic."""
    return {
        "name": topic.name,
        "description": topic.description,
        "exists": topic.exists,
        "records": topic.records,
        "recordsPerSecond": round(topic.records_per_s, 3),
        "partitions": [{"number": each.number, "begin": each.begin, "end": each.end} for each in topic.partitions],
        "groups": [
            {
                "group": each.group,
                "lag": each.lag,
                "oldestUnreadSeconds": None
                if each.oldest_unread_us is None
                else round(max(now_us - each.oldest_unread_us, 0) / 1_000_000, 3),
            }
            for each in topic.groups
        ],
    }


def findings_to_json(findings: Findings) -> dict[str, Any]:
    """Return groups of dead letters."""
    return {
        "groups": [_group_to_json(group) for group in findings.groups],
        "total": findings.total,
        "isComplete": findings.is_complete,
    }


def _group_to_json(group: LetterGroup) -> dict[str, Any]:
    return {
        "reason": group.reason,
        "topic": group.topic,
        "group": group.group,
        "count": group.count,
        "replayable": group.replayable,
        "replayed": group.replayed,
        "firstFailedAt": time_to_json(group.first_failed_at_us),
        "lastFailedAt": time_to_json(group.last_failed_at_us),
        "samples": [_letter_to_json(letter) for letter in group.samples],
    }


def _letter_to_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "name": letter.name,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "group": letter.group,
        "source": letter.source,
        "failedAt": time_to_json(letter.failed_at_us),
        "attempts": letter.attempts,
        "state": letter.state,
        "isReplayable": letter.is_replayable,
    }


def decoded_to_json(decoded: DecodedLetter) -> dict[str, Any]:
    """Return one dead letter with its record."""
    return {
        **_letter_to_json(decoded.letter),
        "size": decoded.size,
        "isWhole": decoded.is_whole,
        "schema": decoded.schema or None,
        "version": decoded.version or None,
        "record": msgspec.Raw(decoded.record.encode()) if decoded.record else None,
        "problem": decoded.problem or None,
    }


def selection_to_json(selection: Selection) -> dict[str, Any]:
    """Return a filter; without the criteria that it lacks."""
    criteria: Mapping[str, Sequence[str] | str | None] = {
        "reasons": list(selection.reasons),
        "topics": list(selection.topics),
        "groups": list(selection.groups),
        "since": time_to_json(selection.since_us),
        "until": time_to_json(selection.until_us),
    }
    return {name: value for name, value in criteria.items() if value}


def replay_to_json(replay: Replay) -> dict[str, Any]:
    """Return one replay."""
    return {
        "id": replay.id,
        "state": replay.state.value,
        "filter": selection_to_json(replay.selection),
        "matched": replay.matched,
        "replayable": replay.replayable,
        "replayedBefore": replay.replayed_before,
        "unreplayable": replay.unreplayable,
        "replayed": replay.replayed,
        "createdAt": time_to_json(replay.created_us),
        "createdBy": replay.created_by,
        "startedAt": time_to_json(replay.started_us),
        "startedBy": replay.started_by or None,
        "endedAt": time_to_json(replay.ended_us),
    }


def entry_to_json(entry: AuditEntry) -> dict[str, Any]:
    """Return one entry of the audit trail."""
    return {
        "id": entry.id,
        "at": time_to_json(entry.at_us),
        "actor": entry.actor,
        "action": entry.action,
        "source": entry.source,
        "details": dict(entry.details),
    }
