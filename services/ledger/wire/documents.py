"""Groups and sums as MongoDB documents."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import starmap
from typing import Any

from msgspec import to_builtins

from services.jobs.events import JobRef
from services.ledger.domain.entries import Entry, Group, GroupKey, ReturnKey, channel_order, entry_instants
from services.ledger.domain.money import to_micros
from services.ledger.domain.movement import Book, Movement, Part, Rebuild, StoredGroup
from services.ledger.domain.report import MonthSums
from services.ledger.domain.sums import NOTHING, Amounts, Cell, Sums, to_date, to_day
from services.ledger.domain.sums import add as add_amounts
from services.ledger.domain.versions import Rank, Version, VersionedOrder
from services.sales.records import Order, OrderLine, Return, ReturnLine
from services.sales.wire import build_key
from services.values.instants import MIN_INSTANT_US

Document = dict[str, Any]

_MAX_INT64 = 2**63 - 1
_SCALE = Decimal(1).scaleb(-6)
_SALE = (
    "accepted_at",
    "channel",
    "user_id",
    "date_time",
    "utc_offset_minutes",
    "mode",
    "payment_method",
    "payment_kind",
    "email_hash",
    "cc_hash",
    "store_id",
    "region_id",
    "segment_ids",
    "segment_names",
    "currency",
)
_STORED = {*_SALE, "site", "job", "id", "coupon_code", "coupon_value", "line_items"}
# Optional fields of an order that the ledger leaves out.
_LEFT_OUT: Document = dict.fromkeys({*Order.__struct_fields__} - _STORED)


def group_id(key: GroupKey) -> str:
    """Return the `_id` of a group."""
    return build_key(key.site, key.order_id).decode()


def user_key(site: int, user_id: str) -> str:
    """Return how documents name a user of a site."""
    return build_key(site, user_id).decode()


def position_at(instant_us: int) -> str:
    """Return what the positions of entries of this instant begin with."""
    return f"{instant_us - MIN_INSTANT_US:018d}"


def group_documents(group: Group, entries: Sequence[Entry], *, generation: int, changed: object) -> list[Document]:
    """Return the documents of a group: one with all records and the first entry, one for each further entry.

    They do not depend on the order in which the records came.
    """
    id_ = group_id(group.key)
    site = group.key.site
    documents = [
        {"_id": id_ if not number else f"{id_}|{number}", "site": site, **_listing(site, id_, number, entry)}
        for number, entry in enumerate(entries)
    ]
    first, last = entry_instants(entries)
    documents[0] |= {
        "orders": [_order_document(group.orders[channel]) for channel in sorted(group.orders, key=channel_order)],
        "returns": [_return_document(each) for each in sorted(group.returns.values(), key=_return_order)],
        "first": first,
        "last": last,
        "generation": generation,
        "changed": changed,
    }
    if len(entries) > 1:
        documents[0]["further"] = len(entries) - 1
        for number, document in enumerate(documents[1:], 1):
            document |= {"group": id_, "number": number}
    others = group.users - {entries[0].user_id}
    if others:
        documents[0]["others"] = [user_key(site, user_id) for user_id in sorted(others)]
    return documents


def _return_order(record: Return) -> tuple[tuple[bool, str], str]:
    return channel_order(record.channel), record.return_id


def _listing(site: int, id_: str, number: int, entry: Entry) -> Document:
    return {
        "user": user_key(site, entry.user_id),
        "position": f"{position_at(entry.at)}|{id_}|{number}",
        "channel": entry.channel,
        "mode": entry.mode,
        "currency": entry.currency,
    }


def group_from(document: Mapping[str, Any]) -> Group:
    """Return the group of its document."""
    site = int(document["site"])
    order_id = _unescape(document["_id"].split("|", 1)[1])
    orders = [_versioned_from(each, site, order_id) for each in document["orders"]]
    returns = [_return_from(each, site, order_id) for each in document["returns"]]
    return Group(
        GroupKey(site, order_id),
        {each.order.channel: each for each in orders},
        {ReturnKey(each.channel, each.return_id): each for each in returns},
    )


def group_key_from(document: Mapping[str, Any]) -> GroupKey:
    """Return the key of a document's group."""
    return GroupKey(int(document["site"]), _unescape(document.get("group", document["_id"]).split("|", 1)[1]))


def stored_group_from(document: Mapping[str, Any]) -> StoredGroup:
    """Return the group of its document, and how it is stored."""
    further = int(document.get("further", 0))
    return StoredGroup(group_from(document), int(document["generation"]), further, document["changed"])


def book_document(book: Book) -> Document:
    """Return the document of a book."""
    document: Document = {"_id": book.site, "zone": book.zone, "generation": book.generation}
    if book.rebuild is not None:
        document["rebuild"] = to_builtins(book.rebuild)
    if book.has_erased_users:
        document["has_erased_users"] = True
    return document


def book_from(document: Mapping[str, Any]) -> Book:
    """Return the book of a document."""
    rebuild = document.get("rebuild")
    return Book(
        site=int(document["_id"]),
        zone=document["zone"],
        generation=int(document["generation"]),
        rebuild=None
        if rebuild is None
        else Rebuild(int(rebuild["generation"]), rebuild["zone"], rebuild["has_retired_sums"]),
        has_erased_users=bool(document.get("has_erased_users")),
    )


def movement_document(movement: Movement) -> Document:
    """Return the document of a movement."""
    return {
        "_id": movement.id,
        "at": movement.at_us,
        "parts": list(map(_part_document, movement.parts)),
        "size": sum(len(part.sums) for part in movement.parts),
        "folded": all(part.generation is None for part in movement.parts),
    }


def movement_from(document: Mapping[str, Any]) -> Movement:
    """Return the movement of a document."""
    return Movement(document["_id"], int(document["at"]), list(map(_part_from, document["parts"])))


def _part_document(part: Part) -> Document:
    return {
        "site": part.site,
        "generation": part.generation,
        "cells": list(starmap(cell_document, part.sums.items())),
        "published": part.is_published,
        "retired": part.is_retired,
    }


def _part_from(document: Mapping[str, Any]) -> Part:
    generation = document["generation"]
    return Part(
        site=int(document["site"]),
        generation=None if generation is None else int(generation),
        sums=dict(map(cell_from, document["cells"])),
        is_published=document["published"],
        is_retired=document["retired"],
    )


def _sale_document(record: Order | Return) -> Document:
    document = {name: value for name in _SALE if (value := getattr(record, name)) not in (None, [])}
    if record.job is not None:
        job = record.job
        document["job"] = [job.job_id, job.index, job.total, job.created_at, job.mode, job.type]
    return document


def _order_document(versioned: VersionedOrder) -> Document:
    order = versioned.order
    document = _sale_document(order)
    if order.coupon_code is not None:
        document["coupon_code"] = order.coupon_code
    if order.coupon_value is not None:
        document["coupon_value"] = to_micros(order.coupon_value)
    document["lines"] = [
        [line.product_id, line.sku_id, line.quantity, to_micros(line.unit_price)] for line in order.line_items
    ]
    if versioned.earlier:
        document["earlier"] = [[*version.rank, version.user_id, version.fingerprints] for version in versioned.earlier]
    return document


def _return_document(record: Return) -> Document:
    document = _sale_document(record)
    document["return_id"] = record.return_id
    if record.return_value is not None:
        document["return_value"] = to_micros(record.return_value)
    document["lines"] = [
        [line.product_id, line.sku_id, line.quantity, to_micros(line.unit_price), line.credit_type]
        for line in record.line_items
    ]
    return document


def _sale_from(document: Mapping[str, Any], site: int) -> Document:
    values: Document = {name: document.get(name) for name in _SALE}
    values["segment_ids"] = values["segment_ids"] or []
    values["segment_names"] = values["segment_names"] or []
    for name in ("accepted_at", "date_time", "utc_offset_minutes"):
        values[name] = int(values[name])
    if values["region_id"] is not None:
        values["region_id"] = int(values["region_id"])
    job = document.get("job")
    values["job"] = None if job is None else JobRef(job[0], int(job[1]), int(job[2]), int(job[3]), job[4], job[5])
    values["site"] = site
    return values


def _versioned_from(document: Mapping[str, Any], site: int, order_id: str) -> VersionedOrder:
    coupon_value = document.get("coupon_value")
    order = Order(
        **_sale_from(document, site),
        **_LEFT_OUT,
        id=order_id,
        coupon_code=document.get("coupon_code"),
        coupon_value=None if coupon_value is None else _from_micros(coupon_value),
        line_items=[
            OrderLine(product_id, sku_id, int(quantity), _from_micros(price))
            for product_id, sku_id, quantity, price in document["lines"]
        ],
    )
    earlier = tuple(
        Version(Rank(int(accepted_at), job_id, int(job_index)), user_id, bytes(fingerprints))
        for accepted_at, job_id, job_index, user_id, fingerprints in document.get("earlier", ())
    )
    return VersionedOrder(order, earlier)


def _return_from(document: Mapping[str, Any], site: int, order_id: str) -> Return:
    value = document.get("return_value")
    return Return(
        **_sale_from(document, site),
        order_id=order_id,
        return_id=document["return_id"],
        return_value=None if value is None else _from_micros(value),
        line_items=[
            ReturnLine(product_id, sku_id, int(quantity), _from_micros(price), credit_type)
            for product_id, sku_id, quantity, price, credit_type in document["lines"]
        ],
    )


def _from_micros(micros: int) -> Decimal:
    return int(micros) * _SCALE


def cell_document(cell: Cell, amounts: Amounts) -> list[Any]:
    """Return a cell and its amounts as an array."""
    return [*cell, *map(number_to_bson, amounts)]


def cell_from(values: Sequence[Any]) -> tuple[Cell, Amounts]:
    """Return the cell and the amounts of an array."""
    day, channel, mode, currency, store, *amounts = values
    return Cell(int(day), channel, mode, currency, store), amounts_from(amounts)


def amounts_from(values: Sequence[Any]) -> Amounts:
    """Return amounts; those beyond 64 bits are texts."""
    return Amounts(*map(int, values))


def number_to_bson(number: int) -> int | str:
    """Return the number; as a text if BSON has no integer of that size."""
    return number if -_MAX_INT64 <= number <= _MAX_INT64 else str(number)


def _unescape(part: str) -> str:
    return part.replace("%7C", "|").replace("%25", "%") if "%" in part else part


class SumChanges:
    """Changes of documents of sums."""

    def __init__(self) -> None:
        self._changes: dict[str, tuple[Document, dict[str, Amounts]]] = {}

    def add(self, site: int, generation: int, family: str, sums: Mapping[Cell, Amounts]) -> None:
        """Add changes of a site's sums."""
        for cell, amounts in sums.items():
            month, day = to_date(cell.day).isoformat().rsplit("-", 1)
            labels = (month, cell.channel, cell.mode, cell.currency, cell.store)
            id_ = "|".join((str(site), str(generation), family, *map(_label, labels)))
            if id_ not in self._changes:
                names = ("month", "channel", "mode", "currency", "store")
                head = {
                    "site": site,
                    "generation": generation,
                    "family": family,
                    **dict(zip(names, labels, strict=True)),
                }
                self._changes[id_] = {"_id": id_, **head}, {}
            days = self._changes[id_][1]
            days[day] = amounts if day not in days else add_amounts(days[day], amounts)

    def ids(self) -> list[str]:
        """Return the `_id`s of the documents that change."""
        return list(self._changes)

    def apply_to(self, stored: Sequence[Document]) -> list[Document]:
        """Return the documents with the changes; `stored` are those that exist."""
        existing = {document["_id"]: document for document in stored}
        return [
            _changed_month(head | existing.get(id_, {"total": [0] * 6, "days": {}}), changes)
            for id_, (head, changes) in self._changes.items()
        ]


def _changed_month(document: Document, changes: Mapping[str, Amounts]) -> Document:
    """Return the document with the changes, the days sorted; those that become zero are removed."""
    total, days = amounts_from(document["total"]), dict(document["days"])
    for day, amounts in changes.items():
        total = add_amounts(total, amounts)
        changed = add_amounts(amounts_from(days.pop(day, NOTHING)), amounts)
        if any(changed):
            days[day] = list(map(number_to_bson, changed))
    return {**document, "total": list(map(number_to_bson, total)), "days": dict(sorted(days.items()))}


def month_sums_from(document: Mapping[str, Any]) -> MonthSums:
    """Return the sums of a document."""
    labels = (document["month"], document["channel"], document["mode"], document["currency"], document["store"])
    return MonthSums(*labels, document["total"], document.get("days", {}))


def cells_of_month(document: Mapping[str, Any]) -> Sums:
    """Return the cells of a document of sums."""
    labels = (document["channel"], document["mode"], document["currency"], document["store"])
    return {
        Cell(to_day(date.fromisoformat(f"{document['month']}-{day}")), *labels): amounts_from(amounts)
        for day, amounts in document["days"].items()
    }


def _label(text: str | None) -> str:
    """Return a label for an `_id`; no text has the label of a missing one."""
    return "" if text is None else "=" + text.replace("%", "%25").replace("|", "%7C")
