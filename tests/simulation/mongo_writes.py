"""Write operations of the simulated MongoDB, on the primary or inside a transaction."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany
from pymongo.errors import BulkWriteError, DuplicateKeyError

from tests.simulation import documents as language
from tests.simulation.documents import Document
from tests.simulation.replica_set import ID_INDEX, DuplicateError, Index, encode


class Target(Protocol):
    """Where a command reads and writes: the primary, or a transaction."""

    def latest(self, name: str) -> Mapping[Any, Document]:
        """The documents of a collection, by key."""

    def write(self, name: str, key: Any, after: Document | None) -> None:
        """Change, add or remove a document."""


Write = Callable[[Target], Any]


def duplicate_key(index: Index) -> DuplicateKeyError:
    """The error of a unique index."""
    details = {"keyPattern": dict(index.keys), "code": 11000}
    return DuplicateKeyError(f"E11000 duplicate key error index: {index.name}", 11000, details)


def find(documents: Mapping[Any, Document], query: Mapping[str, Any]) -> list[Document]:
    """Return the documents that match, in the order of their insertion."""
    wanted = query.get("_id")
    keys = wanted.get("$in") if isinstance(wanted, Mapping) and set(wanted) == {"$in"} else [wanted]
    if keys and all(isinstance(key, str | int) for key in keys):
        found = [documents[key] for key in dict.fromkeys(keys) if key in documents]
        return [one for one in found if language.matches(one, query)]
    return [one for one in documents.values() if language.matches(one, query)]


def _store(target: Target, name: str, key: Any, document: Document | None) -> None:
    try:
        target.write(name, key, document)
    except DuplicateError as error:
        raise duplicate_key(error.index) from None


def insert(name: str, document: Document, target: Target) -> SimpleNamespace:
    """Insert a document; raises `DuplicateKeyError`."""
    if document["_id"] in target.latest(name):
        raise duplicate_key(ID_INDEX)
    _store(target, name, document["_id"], document)
    return SimpleNamespace(inserted_id=document["_id"])


def update(
    name: str,
    query: Mapping[str, Any],
    change: Any,
    target: Target,
    *,
    upsert: bool = False,
    many: bool = False,
    array_filters: Sequence[Mapping[str, Any]] = (),
) -> SimpleNamespace:
    """Update one document, or all that match."""
    found = find(target.latest(name), query)
    found = found if many else found[:1]
    modified = 0
    for old in found:
        new = language.apply_update(old, change, query=query, array_filters=array_filters)
        if new != old:
            _store(target, name, old["_id"], new)
            modified += 1
    upserted_id = None
    if not found and upsert:
        new = language.apply_update(language.upserted(query), change, query=query, is_insert=True)
        upserted_id = insert(name, new, target).inserted_id
    return SimpleNamespace(matched_count=len(found), modified_count=modified, upserted_id=upserted_id)


def replace(
    name: str, query: Mapping[str, Any], document: Document, target: Target, *, upsert: bool = False
) -> SimpleNamespace:
    """Replace one document."""
    found = find(target.latest(name), query)[:1]
    modified = found != [document]
    if found and modified:
        _store(target, name, found[0]["_id"], document)
    elif not found and upsert:
        insert(name, document, target)
    return SimpleNamespace(matched_count=len(found), modified_count=len(found) and int(modified))


def delete(name: str, query: Mapping[str, Any], target: Target, *, many: bool = False) -> SimpleNamespace:
    """Delete one document, or all that match."""
    found = find(target.latest(name), query)
    found = found if many else found[:1]
    for one in found:
        _store(target, name, one["_id"], None)
    return SimpleNamespace(deleted_count=len(found))


def find_and_update(
    name: str,
    query: Mapping[str, Any],
    change: Any,
    target: Target,
    *,
    sort: Sequence[tuple[str, int]],
    upsert: bool,
    returns_new: bool,
) -> Document | None:
    """Update the first document that matches, and return it as it was or is."""
    found = language.sort_documents(find(target.latest(name), query), sort)[:1]
    if not found:
        if not upsert:
            return None
        new = language.apply_update(language.upserted(query), change, query=query, is_insert=True)
        insert(name, new, target)
        return new if returns_new else None
    (old,) = found
    new = language.apply_update(old, change, query=query)
    if new != old:
        _store(target, name, old["_id"], new)
    return new if returns_new else old


def outcome_of(operation: Write, target: Target) -> Any:
    """Run an operation of a bulk write; return its result, or its duplicate key error."""
    try:
        return operation(target)
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


def bulk_in_transaction(operations: Sequence[Write], target: Target, *, ordered: bool) -> SimpleNamespace:
    """Run the operations of a transaction; raises `BulkWriteError`."""
    outcomes: dict[int, Any] = {}
    for index, operation in enumerate(operations):
        outcomes[index] = outcome_of(operation, target)
        if ordered and isinstance(outcomes[index], DuplicateKeyError):
            break
    return bulk_result(outcomes)


def to_write(name: str, request: Any, options: Any) -> Write:
    """Return PyMongo's description of an operation as a write."""
    match request:
        case InsertOne():
            return partial(insert, name, encode(request._doc, options))
        case ReplaceOne():
            query, document = encode(request._filter, options), encode(request._doc, options)
            return partial(replace, name, query, document, upsert=bool(request._upsert))
        case DeleteOne() | DeleteMany():
            return partial(delete, name, encode(request._filter, options), many=isinstance(request, DeleteMany))
        case _:
            return partial(
                update,
                name,
                encode(request._filter, options),
                encoded_update(request._doc, options),
                upsert=bool(request._upsert),
                many=isinstance(request, UpdateMany),
                array_filters=[encode(one, options) for one in request._array_filters or ()],
            )


def encoded_update(change: Any, options: Any) -> Any:
    """The update as the server gets it: operators, or a pipeline."""
    if isinstance(change, Mapping):
        return encode(change, options)
    return [encode(stage, options) for stage in change]
