"""MongoDB's query, update and aggregation languages, as far as the services use them.

Documents are what the server stores: decoded BSON without the client's codecs. An unknown operator raises.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import Binary, Decimal128

Document = dict[str, Any]
_MISSING: Any = object()


class QueryError(Exception):
    """The simulated server does not know this operator."""


def values_at(document: Any, path: str) -> list[Any]:
    """Return the values at a dotted path; arrays on the way are traversed, and numbers index them."""
    return _values(document, path.split("."))


def _values(value: Any, parts: Sequence[str]) -> list[Any]:
    if not parts:
        return [value]
    head, rest = parts[0], parts[1:]
    if isinstance(value, dict):
        return _values(value[head], rest) if head in value else []
    if isinstance(value, list):
        if head.isdigit():
            return _values(value[int(head)], rest) if int(head) < len(value) else []
        return [found for element in value if isinstance(element, dict) for found in _values(element, parts)]
    return []


def order_key(value: Any) -> tuple[int, Any]:  # noqa: PLR0911 - a case for each type
    """A key that orders values as BSON does, for the types in use."""
    if value is None or value is _MISSING:
        return 1, 0
    if isinstance(value, bool):
        return 8, value
    if isinstance(value, Decimal128):
        return 2, value.to_decimal()
    if isinstance(value, int | float):
        return 2, value
    if isinstance(value, str):
        return 3, value.encode()
    if isinstance(value, dict):
        return 4, tuple((name, order_key(each)) for name, each in value.items())
    if isinstance(value, list):
        return 5, tuple(map(order_key, value))
    if isinstance(value, bytes | Binary):
        return 6, (len(value), bytes(value))
    if isinstance(value, datetime):
        return 9, value
    raise QueryError(f"cannot order {type(value).__name__}")


def _equal(left: Any, right: Any) -> bool:
    return order_key(left) == order_key(right)


def _compare(operator: str, value: Any, operand: Any) -> bool:
    left, right = order_key(value), order_key(operand)
    if left[0] != right[0]:
        return False
    return {"$lt": left < right, "$lte": left <= right, "$gt": left > right, "$gte": left >= right}[operator]


def matches(document: Any, query: Mapping[str, Any]) -> bool:
    """Whether the document satisfies the query."""
    return all(_condition_holds(document, name, condition) for name, condition in query.items())


def _condition_holds(document: Any, name: str, condition: Any) -> bool:
    if name == "$or":
        return any(matches(document, each) for each in condition)
    if name == "$and":
        return all(matches(document, each) for each in condition)
    if name.startswith("$"):
        raise QueryError(name)
    found = values_at(document, name)
    if isinstance(condition, Mapping) and any(key.startswith("$") for key in condition):
        return all(_operator_holds(found, operator, operand) for operator, operand in condition.items())
    return _any_equal(found, condition)


def _any_equal(found: Sequence[Any], operand: Any) -> bool:
    if operand is None and not found:
        return True
    return any(_equal(each, operand) for each in _with_elements(found))


def _with_elements(found: Iterable[Any]) -> Iterable[Any]:
    for each in found:
        yield each
        if isinstance(each, list):
            yield from each


def _operator_holds(found: Sequence[Any], operator: str, operand: Any) -> bool:
    if operator in ("$in", "$nin"):
        return any(_any_equal(found, each) for each in operand) is (operator == "$in")
    if operator == "$ne":
        return not _any_equal(found, operand)
    if operator == "$exists":
        return bool(found) is bool(operand)
    if operator == "$elemMatch":
        arrays = [each for each in found if isinstance(each, list)]
        return any(_is_element(element, operand) for array in arrays for element in array)
    if operator == "$not":
        return not all(_operator_holds(found, negated, each) for negated, each in operand.items())
    if operator in ("$lt", "$lte", "$gt", "$gte"):
        return any(_compare(operator, each, operand) for each in _with_elements(found))
    raise QueryError(operator)


def _is_element(element: Any, query: Mapping[str, Any]) -> bool:
    if all(key.startswith("$") and key not in ("$and", "$or") for key in query):
        return all(_operator_holds([element], operator, operand) for operator, operand in query.items())
    return matches(element, query)


def sort_documents(found: list[Document], order: Sequence[tuple[str, int]]) -> list[Document]:
    """Return the documents in this order."""
    for name, direction in reversed(order):

        def key(document: Document, name: str = name, direction: int = direction) -> Any:
            keys = [order_key(each) for each in _with_elements(values_at(document, name)) if not isinstance(each, list)]
            return (min(keys) if direction > 0 else max(keys)) if keys else (1, 0)

        found = sorted(found, key=key, reverse=direction < 0)
    return found


def project(document: Document, fields: Mapping[str, Any] | None) -> Document:
    """Return the document with the fields that a projection includes, or without those that it excludes."""
    if not fields:
        return document
    named = {name: bool(value) for name, value in fields.items() if name != "_id"}
    included = any(named.values()) or (not named and bool(fields.get("_id")))
    result: Document
    if included:
        result = _include(document, [name.split(".") for name in named])
        if fields.get("_id", 1) and "_id" in document:
            result = {"_id": document["_id"], **result}
        return result
    result = _exclude(document, [name.split(".") for name in fields if not fields[name]])
    return result


def _include(value: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, list):
        return [_include(each, paths) for each in value if isinstance(each, dict)]
    result = {}
    for name, each in value.items():
        mine = [path[1:] for path in paths if path[0] == name]
        if not mine:
            continue
        if [] in mine:
            result[name] = each
        elif isinstance(each, dict | list):
            result[name] = _include(each, mine)
    return result


def _exclude(value: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, list):
        return [_exclude(each, paths) if isinstance(each, dict) else each for each in value]
    result = {}
    for name, each in value.items():
        mine = [path[1:] for path in paths if path[0] == name]
        if [] in mine:
            continue
        result[name] = _exclude(each, mine) if mine and isinstance(each, dict | list) else each
    return result


def apply_update(
    document: Document,
    update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    query: Mapping[str, Any],
    array_filters: Sequence[Mapping[str, Any]] | None = None,
    is_insert: bool = False,
) -> Document:
    """Return the updated document; equal to the old one if nothing changes."""
    new: Document = copy.deepcopy(document)
    if not isinstance(update, Mapping):
        for stage in update:
            _apply_stage(new, stage)
        return new
    for operator, fields in update.items():
        for path, operand in fields.items():
            if operator == "$setOnInsert" and not is_insert:
                continue
            # In the document as it was: another part of the update may change what a filter looks at.
            for parts in _resolve(document, path.split("."), query, array_filters or ()):
                _modify(new, parts, operator, operand)
    return new


def _apply_stage(document: Document, stage: Mapping[str, Any]) -> None:
    if set(stage) != {"$set"}:
        raise QueryError(str(sorted(stage)))
    for name, value in stage["$set"].items():
        document[name] = values_at(document, value[1:])[0] if str(value).startswith("$") else value


def _resolve(
    document: Any, parts: list[str], query: Mapping[str, Any], array_filters: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """Return the path with `$` and `$[name]` replaced by the positions of matching elements."""
    for at, part in enumerate(parts):
        if not part.startswith("$"):
            continue
        (array,) = values_at(document, ".".join(parts[:at])) or [[]]
        prefix = ".".join(parts[:at]) + "."
        if part == "$":
            own = {name.removeprefix(prefix): each for name, each in query.items() if name.startswith(prefix)}
            positions = [n for n, element in enumerate(array) if matches(element, own)][:1]
        else:
            name = part[2:-1] + "."
            own = {k.removeprefix(name): v for each in array_filters for k, v in each.items() if k.startswith(name)}
            positions = [n for n, element in enumerate(array) if matches(element, own)]
        return [
            resolved
            for position in positions
            for resolved in _resolve(document, [*parts[:at], str(position), *parts[at + 1 :]], query, array_filters)
        ]
    return [parts]


def _modify(document: Any, parts: Sequence[str], operator: str, operand: Any) -> None:
    target = document
    for part in parts[:-1]:
        target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
    key: Any = int(parts[-1]) if isinstance(target, list) else parts[-1]
    present = key < len(target) if isinstance(target, list) else key in target
    if operator == "$unset":
        if present:
            del target[key]
        return
    if operator == "$pull" and not present:
        return
    target[key] = _MODIFIERS[operator](target[key] if present else _MISSING, copy.deepcopy(operand))


def _push(old: Any, operand: Any) -> Any:
    added = operand["$each"] if isinstance(operand, dict) and "$each" in operand else [operand]
    result = [*([] if old is _MISSING else old), *added]
    if not isinstance(operand, dict) or "$slice" not in operand:
        return result
    count = operand["$slice"]
    return result[:count] if count >= 0 else result[count:]


def _max(old: Any, operand: Any) -> Any:
    return operand if old is _MISSING or order_key(operand) > order_key(old) else old


def _add_to_set(old: Any, operand: Any) -> Any:
    result = [] if old is _MISSING else list(old)
    for each in operand["$each"] if isinstance(operand, dict) and "$each" in operand else [operand]:
        if not any(_equal(each, known) for known in result):
            result.append(each)
    return result


def _pull(old: Any, operand: Any) -> Any:
    return [] if old is _MISSING else [each for each in old if not matches(each, operand)]


_MODIFIERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$set": lambda _old, operand: operand,
    "$setOnInsert": lambda _old, operand: operand,
    "$inc": lambda old, operand: (0 if old is _MISSING else old) + operand,
    "$max": _max,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
}


def upserted(query: Mapping[str, Any]) -> Document:
    """The document that an upsert starts from: the equalities of its query."""
    return {
        name: value
        for name, value in query.items()
        if not (isinstance(value, Mapping) and any(key.startswith("$") for key in value))
    }


def aggregate(found: list[Document], pipeline: Sequence[Mapping[str, Any]]) -> list[Document]:
    """Run the stages of a pipeline."""
    for stage in pipeline:
        ((name, argument),) = stage.items()
        if name not in _STAGES:
            raise QueryError(name)
        found = _STAGES[name](found, argument)
    return found


def _unwind(found: list[Document], argument: Any) -> list[Document]:
    options = {"path": argument} if isinstance(argument, str) else argument
    name, index = options["path"][1:], options.get("includeArrayIndex")
    return [
        {**document, name: element, **({index: position} if index else {})}
        for document in found
        for position, element in enumerate(document.get(name, ()))
    ]


def _evaluate(document: Document, expression: Any) -> Any:
    if isinstance(expression, str) and expression.startswith("$"):
        values = values_at(document, expression[1:])
        return values[0] if values else None
    if isinstance(expression, Mapping):
        return {name: _evaluate(document, each) for name, each in expression.items()}
    return expression


def _group(found: list[Document], argument: Mapping[str, Any]) -> list[Document]:
    groups: dict[Any, tuple[Any, list[Document]]] = {}
    for document in found:
        key = _evaluate(document, argument["_id"])
        groups.setdefault(order_key(key), (key, []))[1].append(document)
    return [
        {"_id": key, **{name: _accumulate(members, each) for name, each in argument.items() if name != "_id"}}
        for key, members in groups.values()
    ]


def _accumulate(members: Sequence[Document], accumulator: Mapping[str, Any]) -> Any:
    ((name, expression),) = accumulator.items()
    values = [_evaluate(document, expression) for document in members]
    if name == "$sum":
        return sum(values)
    if name == "$first":
        return values[0]
    if name == "$addToSet":
        return _add_to_set(_MISSING, {"$each": values})
    raise QueryError(name)


_STAGES: Mapping[str, Callable[[list[Document], Any], list[Document]]] = {
    "$match": lambda found, argument: [document for document in found if matches(document, argument)],
    "$sort": lambda found, argument: sort_documents(found, list(argument.items())),
    "$unwind": _unwind,
    "$group": _group,
    "$count": lambda found, argument: [{argument: len(found)}] if found else [],
    "$facet": lambda found, argument: [{name: aggregate(list(found), stages) for name, stages in argument.items()}],
    "$project": lambda found, argument: [project(document, argument) for document in found],
}
