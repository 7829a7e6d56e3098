"""Outcomes of the operations of a bulk write, in the form of PyMongo's."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError

from tests.simulation.replica_set import Index


def outcome_of(operation: Callable[[], Any]) -> Any:
    """Run the operation; return its result, or its duplicate key error."""
    try:
        return operation()
    except DuplicateKeyError as error:
        return error


def bulk_result(outcomes: Mapping[int, Any]) -> SimpleNamespace:
    """Return the sum of the outcomes by index; raises `BulkWriteError` if some are errors."""
    errors = [
        {"index": index, "code": 11000, "errmsg": str(outcome), **(outcome.details or {})}
        for index, outcome in outcomes.items()
        if isinstance(outcome, DuplicateKeyError)
    ]
    matched = sum(getattr(outcome, "matched_count", 0) for outcome in outcomes.values())
    modified = sum(getattr(outcome, "modified_count", 0) for outcome in outcomes.values())
    if errors:
        raise BulkWriteError({"writeErrors": errors, "nModified": modified, "nMatched": matched})
    return SimpleNamespace(matched_count=matched, modified_count=modified)


def duplicate_key(index: Index) -> DuplicateKeyError:
    """The error of an operation that would store a key twice."""
    details = {"keyPattern": dict(index.keys), "code": 11000}
    return DuplicateKeyError(f"E11000 duplicate key error index: {index.name}", 11000, details)
