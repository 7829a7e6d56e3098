"""The part that an order and a return have in common, read from JSON."""

from typing import NamedTuple

from services.sales import fields, readers
from services.sales.faults import FaultCode, invalid_value, make_fault
from services.sales.form import ObjectReader
from services.sales.intake import ImportContext
from services.sales.payments import payment_kind
from services.sales.records import OFFLINE
from services.sales.rules import future_fault
from services.values.currencies import DEFAULT_CURRENCY, read_currency
from services.values.instants import Instant, parse_instant
from services.values.invalid import Invalid

NO_INSTANT = Instant(0, 0, is_assumed=False)


class Sale(NamedTuple):
    """The common fields, in the order of the schemas. What was wrong or absent is None, empty or zero."""

    channel: str | None
    user_id: str
    date_time: int
    utc_offset_minutes: int
    mode: str
    payment_method: str | None
    payment_kind: str | None
    email_hash: str | None
    cc_hash: str | None
    store_id: str | None
    region_id: int | None
    segment_ids: list[str]
    segment_names: list[str]
    currency: str


class ParsedSale(NamedTuple):
    """A sale, its user and the mode that it states itself, if known, and whether its time zone is the site's."""

    sale: Sale
    user_id: str | None
    stated_mode: str | None
    is_zone_assumed: bool


def read_sale(form: ObjectReader, intake: ImportContext) -> ParsedSale:
    """Read the common fields; what is wrong with them goes into the form, in this order."""
    channel = form.optional("channel", readers.channel)
    user_id = _user_id(form, intake)
    instant = _instant(form, intake)
    mode = _mode(form, intake)
    method = form.optional("paymentMethod", readers.payment_method)
    email_hash = form.optional("emailHash", readers.hashed)
    cc_hash = form.optional("ccHash", readers.hashed)
    region_id = form.optional("regionId", readers.region_id)
    store_id = form.optional("storeId", readers.store_id)
    segment_ids = _segment_ids(form)
    segment_names = form.optional("segmentNames", readers.segments)
    currency = form.optional("currency", lambda value: read_currency(value, intake.currencies))
    sale = Sale(
        channel=intake.channel if channel is None else channel,
        user_id=user_id or "",
        date_time=instant.us,
        utc_offset_minutes=instant.offset_minutes,
        mode=mode or intake.mode or OFFLINE,
        payment_method=method,
        payment_kind=None if method is None else payment_kind(method),
        email_hash=email_hash,
        cc_hash=cc_hash,
        store_id=store_id,
        region_id=region_id,
        segment_ids=segment_ids or [],
        segment_names=segment_names or [],
        currency=currency or DEFAULT_CURRENCY,
    )
    return ParsedSale(sale, user_id, mode, instant.is_assumed)


def _user_id(form: ObjectReader, intake: ImportContext) -> str | None:
    if intake.user_id is None:
        return form.required("userId", readers.user_id)
    stated = form.optional("userId", readers.user_id)
    field = form.pointer("userId")
    if wrong := fields.validate_id(intake.user_id, max_length=fields.MAX_USER_ID_LENGTH):
        form.add_fault(invalid_value(field, wrong))
        return None
    if stated is not None and stated != intake.user_id:
        form.add_fault(make_fault(FaultCode.USER_ID_MISMATCH, field, "userId differs from the user in the path"))
    return intake.user_id


def _instant(form: ObjectReader, intake: ImportContext) -> Instant:
    def read(value: object) -> Instant | Invalid:
        return parse_instant(value, zone=intake.zone)

    instant = form.required("dateTime", read)
    if instant is None:
        return NO_INSTANT
    if late := future_fault(form.pointer("dateTime"), instant.us, now_us=intake.now_us):
        form.add_fault(late)
    return instant


def _mode(form: ObjectReader, intake: ImportContext) -> str | None:
    mode = form.optional("mode", readers.mode)
    if mode is not None and intake.mode is not None and mode != intake.mode:
        form.add_fault(
            make_fault(FaultCode.MODE_CONFLICT, form.pointer("mode"), "mode differs from the mode of the request")
        )
    return mode


def _segment_ids(form: ObjectReader) -> list[str] | None:
    ids = form.optional("segmentIds", readers.segments)
    alias = form.optional("segmentId", readers.segments)
    if ids is not None and alias is not None and ids != alias:
        form.add_fault(
            make_fault(FaultCode.ALIAS_CONFLICT, form.pointer("segmentIds"), "segmentIds and segmentId differ")
        )
    return alias if ids is None else ids
