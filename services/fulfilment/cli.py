"""Operator commands for products, stock, business days and encryption keys."""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.broker_clock import measure_broker_clock
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import retire_key_ids
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.command import async_command
from services.chassis.runtime.currencies import load_currencies
from services.chassis.runtime.logs import escape_for_log
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings, load
from services.chassis.security.audit import AuditLog
from services.chassis.security.keyed_cipher import WrongKeyError
from services.chassis.security.sites import Sites
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.adapters.customers import SiteCustomers
from services.fulfilment.adapters.stores import Stores
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.app import ENCRYPTION_KEYS, build_close_day_deps, build_load_stock_deps, verify_code_keys
from services.fulfilment.domain.code import Code
from services.fulfilment.domain.code_file import InvalidCodeFileError, parse_code_file
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import parse_codes, parse_product
from services.fulfilment.flows import close_day, load_stock
from services.fulfilment.http import responses
from services.fulfilment.settings import CodeCipherSettings, InvoiceSettings, SupplierSettings
from services.fulfilment.wire.events import EventCodec
from services.topics import AUTH_SITES, SUBJECTS_BY_SCHEMA
from services.values.strict_json import JsonSyntaxError, parse

SITES_TIMEOUT_S = BROKER_TIMEOUT_S = 30.0
RESEAL_BATCH_SIZE = 1_000
MAX_REPORTED_FAULTS = 5

fulfilment = typer.Typer(no_args_is_help=True, help="Products, stock, business days, encryption keys of codes.")
products_app = typer.Typer(no_args_is_help=True, help="Products that can be ordered.")
stock_app = typer.Typer(no_args_is_help=True, help="Codes on sale.")
fulfilment.add_typer(products_app, name="products")
fulfilment.add_typer(stock_app, name="stock")

command = async_command(WrongKeyError, ValueError, OSError)


class StockCliSettings(ServiceSettings, MongoSettings, CodeCipherSettings, SupplierSettings):
    """Settings of the commands for products and codes."""


class CloseDayCliSettings(ServiceSettings, KafkaSettings, MongoSettings, InvoiceSettings):
    """Settings of the command that closes a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CliDeps:
    """Dependencies of the commands for products and codes."""

    mongo: Mongo
    stores: Stores
    cipher: CodeCipher
    suppliers: AbstractSet[str]
    load_stock: load_stock.Deps


async def load_document(document: bytes) -> str:
    """Load the products and codes of a JSON document: `{"products": [{…, "codes": […]}]}`.

    Returns a sentence with their numbers, and a line for each batch of codes. Idempotent. Raises `ValueError` for an
    invalid document, and `UnavailableError`.
    """
    entries = _parse_entries(document)
    batches: dict[str, load_stock.Batch] = {}
    async with _open_deps() as deps:
        for entry in entries:
            sku, batch = await _load_entry(entry, deps)
            if batch is not None:
                batches[sku] = batch
    added = sum(batch.added for batch in batches.values())
    lines = [f"{sku}: batch {batch.id}" for sku, batch in batches.items()]
    return "\n".join([f"{len(entries)} products and {added} new codes loaded", *lines])


def _parse_entries(document: bytes) -> list[dict[str, Any]]:
    """Parse the array `products`. Prices may be numbers, whose digits are all kept."""
    try:
        value = parse(document, keep_surrogates=True)
    except JsonSyntaxError as error:
        raise ValueError(f"the document is not JSON: {error}") from None
    entries = value.get("products") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('{"products": [{…}, …]} is expected')
    return entries


async def _load_entry(entry: dict[str, Any], deps: CliDeps) -> tuple[str, load_stock.Batch | None]:
    sku = str(entry.get("sku"))
    try:
        product = parse_product(sku, entry, load_currencies(), deps.suppliers)
        await deps.stores.products.put(product)
        codes = entry.get("codes") or []
        return sku, await load_stock.load_codes(sku, parse_codes(codes), deps.load_stock) if codes else None
    except InvalidRequestError as error:
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in error.faults[:MAX_REPORTED_FAULTS])
        raise ValueError(f"{escape_for_log(sku)}: {faults}") from None


@products_app.command("list")
@command
async def list_products() -> None:
    """List the products with their available codes, their suppliers and the number of waiting orders."""
    async with _open_deps() as deps:
        for product in await deps.stores.products.list_all():
            available = await deps.stores.stock.count_available(product.sku)
            waiting = await deps.stores.transactions.count_waiting(product.sku)
            body = responses.product(product)
            price = f"{body['unitPrice']} {body['currency']}"
            columns = (body["sku"], body["name"], price, f"{available} on sale", body["supplier"], f"{waiting} waiting")
            typer.echo("\t".join(columns))


@products_app.command("put")
@command
async def put_products(
    file: Annotated[
        Path,
        typer.Argument(help='JSON document: {"products": [{"sku": …, "codes": […]}]}.', exists=True, dir_okay=False),
    ],
) -> None:
    """Add or replace products, and load their codes."""
    typer.echo(await load_document(file.read_bytes()))


@stock_app.command("load")
@command
async def load_codes(
    sku: str,
    file: Annotated[Path, typer.Argument(help="One code a line; a PIN after a comma.", exists=True, dir_okay=False)],
) -> None:
    """Put codes of a product on sale. Loading a file again changes nothing."""
    async with _open_deps() as deps:
        codes = _read_codes(file)
        batch = await load_stock.load_codes(sku, codes, deps.load_stock)
        if batch is None:
            raise ValueError(f"there is no product {sku}")
        _audit("codes-loaded", batch=batch.id, codes=len(codes), added=batch.added)
        typer.echo(f"{batch.added} of {len(codes)} codes are new\nbatch {batch.id}")


@stock_app.command("withdraw")
@command
async def withdraw_codes(
    sku: str,
    file: Annotated[Path | None, typer.Argument(help="The codes, as loaded.", exists=True, dir_okay=False)] = None,
    batch: Annotated[UUID | None, typer.Option(help="The id that loading returned, instead of a file.")] = None,
) -> None:
    """Take unsold codes of a product off sale. Sold ones stay with their orders; withdrawn ones can be loaded again."""
    if (file is None) is (batch is None):
        raise typer.BadParameter("give either a file or --batch")
    async with _open_deps() as deps:
        if not await deps.stores.products.find([sku]):
            raise ValueError(f"there is no product {sku}")
        if file is None:
            count = await deps.stores.stock.withdraw_batch(sku, str(batch))
            typer.echo(f"{count} unsold codes withdrawn")
        else:
            codes = _read_codes(file)
            count = await load_stock.withdraw_codes(sku, codes, deps.load_stock)
            typer.echo(f"{count} of {len(codes)} codes withdrawn; the others are sold or unknown")
        _audit("codes-withdrawn", codes=count, **({"batch": str(batch)} if batch else {}))


@fulfilment.command("close-day")
@command
async def close_ended_day(
    date: Annotated[datetime, typer.Option(help="The day, such as 2026-01-31.", formats=["%Y-%m-%d"])],
) -> None:
    """Close the purchase orders of a day and issue their invoices, and all due credit notes.

    The day may be in progress: later orders join the next day. Documents are dated by the brokers' clock.
    """
    settings = load(CloseDayCliSettings)
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA, wait=False)
    sites = Sites(schemas)
    table = CompactedTable(settings, AUTH_SITES.name, sites.apply, client_id="operator")
    await table.start()
    try:
        await table.wait_ready(SITES_TIMEOUT_S)
        async with Producer(settings, client_id="operator") as producer, Mongo.connect(settings) as mongo:
            await producer.wait_ready(BROKER_TIMEOUT_S)
            clock = await measure_broker_clock(producer)
            stores = Stores.build(mongo, EventCodec(schemas), now_us=clock.now_us)
            await stores.create_indexes()
            deps = build_close_day_deps(stores, SiteCustomers(sites), settings.issuer, now_us=clock.now_us)
            closed = await close_day.close_day(date.date(), deps)
            credited = await close_day.issue_credit_notes(deps)
    finally:
        await table.stop()
    typer.echo(f"{closed} purchase orders closed, {credited} credit notes issued")


@fulfilment.command("reseal")
@command
async def reseal() -> None:
    """Encrypt every code with the first of CODE_ENCRYPTION_KEYS; then the others are no longer needed."""
    # Resealing verifies the keys by each code.
    async with _open_deps(verify_keys=False) as deps:
        stock, cipher, count = deps.stores.stock, deps.cipher, 0
        while found := await stock.list_sealed_with_other_keys(cipher.key_id, limit=RESEAL_BATCH_SIZE):
            await stock.replace_sealed([(old, cipher.reseal(sku, old)) for sku, old in found])
            count += len(found)
        await retire_key_ids(deps.mongo, ENCRYPTION_KEYS, kept=[cipher.key_id])
        _audit("codes-resealed", codes=count, key=cipher.key_id)
        typer.echo(f"{count} codes resealed")


@asynccontextmanager
async def _open_deps(*, verify_keys: bool = True) -> AsyncIterator[CliDeps]:
    settings = load(StockCliSettings)
    cipher = CodeCipher(settings.encryption_keys, settings.digest_key)
    async with Mongo.connect(settings) as mongo:
        stores = Stores.build(mongo, EventCodec(Schemas.load(settings.schemas_dir)), now_us=now_us)
        if verify_keys:
            await verify_code_keys(mongo, cipher, settings.digest_key)
        await stores.stock.create_indexes()
        suppliers = build_suppliers(stores.stock, cipher.seal, is_simulated=settings.simulated_supplier)
        yield CliDeps(
            mongo=mongo,
            stores=stores,
            cipher=cipher,
            suppliers=suppliers.keys(),
            load_stock=build_load_stock_deps(stores, cipher),
        )


def _read_codes(file: Path) -> Sequence[Code]:
    """Parse a file of codes; the reported faults name their lines."""
    try:
        return parse_code_file(file.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is not valid UTF-8") from None
    except InvalidCodeFileError as error:
        faults = [f"{file.name}, line {number}: {detail}" for number, detail in error.faults[:MAX_REPORTED_FAULTS]]
        more = len(error.faults) - len(faults)
        raise ValueError("; ".join([*faults, *([f"{more} more lines"] if more else [])])) from None


def _audit(action: str, **details: object) -> None:
    AuditLog().record(action, actor="operator", source="command line", **details)
