"""The operator's commands about products, stock, days and keys."""

from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from services.chassis.avro.registry_client import load_schemas
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.command import run_command
from services.chassis.runtime.currencies import load_currencies
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings, load
from services.chassis.security.audit import AuditLog
from services.chassis.security.sites import Sites
from services.fulfilment.adapters.code_cipher import CodeCipher, WrongKeyError
from services.fulfilment.adapters.customers import SiteCustomers
from services.fulfilment.adapters.stores import Stores
from services.fulfilment.adapters.suppliers import build_suppliers
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import MAX_CODES_PER_REQUEST, parse_codes, parse_product
from services.fulfilment.flows import close_day
from services.fulfilment.flows import load_stock as loading
from services.fulfilment.http import responses
from services.fulfilment.settings import CodeCipherSettings, SupplierSettings
from services.fulfilment.wire.events import EventCodec
from services.topics import AUTH_SITES, SUBJECTS_BY_SCHEMA
from services.values.strict_json import JsonSyntaxError, parse

SITES_TIMEOUT_S = 30.0
RESEAL_BATCH_SIZE = 1_000

fulfilment = typer.Typer(no_args_is_help=True, help="Products, stock, purchase orders' days, keys of codes.")
products_app = typer.Typer(no_args_is_help=True, help="Products that can be ordered.")
stock_app = typer.Typer(no_args_is_help=True, help="Codes on sale.")
fulfilment.add_typer(products_app, name="products")
fulfilment.add_typer(stock_app, name="stock")


class StockCliSettings(ServiceSettings, MongoSettings, CodeCipherSettings, SupplierSettings):
    """Settings of the commands about products and codes."""


class CloseDayCliSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the command that closes a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CliDeps:
    """What the commands about products and codes use."""

    stores: Stores
    vault: CodeCipher
    suppliers: AbstractSet[str]
    loading: loading.Deps


async def load_document(document: bytes) -> tuple[int, int]:
    """Load the products and codes of a JSON document: `{"products": [{…, "codes": […]}]}`; how many, how many new.

    Doing it again changes nothing. Raises `ValueError` where the document cannot be followed, `Away`.
    """
    entries = _entries(document)
    added: list[int] = []

    async def work(shelves: CliDeps) -> None:
        added.extend([await _load_entry(entry, shelves) for entry in entries])

    await _with_shelves(work)
    return len(added), sum(added)


def _entries(document: bytes) -> list[dict[str, Any]]:
    """What stands under `products`. Prices may be numbers: none of their digits is lost."""
    try:
        read = parse(document)
    except JsonSyntaxError as bad:
        raise ValueError(f"the document is not JSON: {bad}") from None
    entries = read.get("products") if isinstance(read, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('{"products": [{…}, …]} is expected')
    return entries


async def _load_entry(entry: dict[str, Any], shelves: CliDeps) -> int:
    sku = str(entry.get("sku"))
    try:
        product = parse_product(sku, entry, load_currencies(), shelves.suppliers)
        await loading.put_product(product, shelves.loading)
        codes = entry.get("codes") or []
        return await loading.load_codes(sku, parse_codes(codes), shelves.loading) or 0 if codes else 0
    except InvalidRequestError as refused:
        raise _mistake(sku, refused) from None


@products_app.command("list")
def list_products() -> None:
    """List the products: how many of their codes are on sale, where they come from, how many orders wait for one."""

    async def work(shelves: CliDeps) -> None:
        for product in await shelves.stores.products.list_all():
            free = await shelves.stores.stock.count_available(product.sku)
            waiting = await shelves.stores.transactions.count_waiting(product.sku)
            shown = responses.product(product)
            price = f"{shown['unitPrice']} {shown['currency']}"
            columns = (shown["sku"], shown["name"], price, f"{free} on sale", shown["supplier"], f"{waiting} waiting")
            typer.echo("\t".join(columns))

    _run(_with_shelves(work))


@products_app.command("put")
def put_products(
    file: Annotated[
        Path,
        typer.Argument(help='JSON document: {"products": [{"sku": …, "codes": […]}]}.', exists=True, dir_okay=False),
    ],
) -> None:
    """Add or change products, and load the codes that stand with them."""

    async def work() -> None:
        products, codes = await load_document(file.read_bytes())
        typer.echo(f"{products} products and {codes} new codes loaded")

    _run(work())


@stock_app.command("load")
def load_codes(
    sku: str,
    file: Annotated[Path, typer.Argument(help="One code a line; a PIN after a comma.", exists=True, dir_okay=False)],
) -> None:
    """Put codes of a product on sale. Loading a file again changes nothing."""

    async def work(shelves: CliDeps) -> None:
        lines = [
            (number, line.strip()) for number, line in enumerate(_text(file).splitlines(), start=1) if line.strip()
        ]
        entries = [_entry(line) for _, line in lines]
        added = 0
        for start in range(0, len(entries), MAX_CODES_PER_REQUEST):
            try:
                codes = parse_codes(entries[start : start + MAX_CODES_PER_REQUEST])
            except InvalidRequestError as refused:
                raise _mistaken_lines(file.name, refused, lines[start:]) from None
            new = await loading.load_codes(sku, codes, shelves.loading)
            if new is None:
                raise ValueError(f"there is no product {sku}")
            added += new
        AuditLog().record("codes-loaded", actor="operator", source="command line", codes=len(entries), added=added)
        typer.echo(f"{added} of {len(entries)} codes are new")

    _run(_with_shelves(work))


@fulfilment.command("close-day")
def close_ended_days(
    date: Annotated[datetime, typer.Option(help="The day, such as 2026-01-31.", formats=["%Y-%m-%d"])],
) -> None:
    """Close the purchase orders of a day and issue their invoices, and the credit notes that are due.

    The day need not be over: later orders go to the next.
    """
    _run(_close_days(date))


async def _close_days(day: datetime) -> None:
    settings = load(CloseDayCliSettings)
    schemas = await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA, wait=False)
    sites = Sites(schemas)
    table = CompactedTable(settings, AUTH_SITES.name, sites.apply, client_id="operator")
    await table.start()
    try:
        await table.wait_ready(SITES_TIMEOUT_S)
        async with Mongo.connect(settings) as mongo:
            stores = Stores.build(mongo, EventCodec(schemas), now_us=now_us)
            world = close_day.Deps(
                purchase_orders=stores.purchase_orders,
                transactions=stores.transactions,
                invoices=stores.invoices,
                customers=SiteCustomers(sites),
                now_us=now_us,
            )
            closed = await close_day.close_day(day.date(), world)
            credited = await close_day.issue_credit_notes(world)
    finally:
        await table.stop()
    typer.echo(f"{closed} purchase orders closed, {credited} credit notes issued")


@fulfilment.command("reseal")
def reseal() -> None:
    """Seal every code with the first of CODE_ENCRYPTION_KEYS; then the others are no longer needed."""

    async def work(shelves: CliDeps) -> None:
        stock, vault, count = shelves.stores.stock, shelves.vault, 0
        while found := await stock.list_sealed_with_other_keys(vault.key_id, limit=RESEAL_BATCH_SIZE):
            await stock.replace_sealed([(old, vault.reseal(sku, old)) for sku, old in found])
            count += len(found)
        AuditLog().record("codes-resealed", actor="operator", source="command line", codes=count, key=vault.key_id)
        typer.echo(f"{count} codes resealed")

    _run(_with_shelves(work))


async def _with_shelves(work: Callable[[CliDeps], Coroutine[Any, Any, None]]) -> None:
    settings = load(StockCliSettings)
    vault = CodeCipher(settings.encryption_keys, settings.digest_key)
    async with Mongo.connect(settings) as mongo:
        stores = Stores.build(mongo, EventCodec(Schemas.load(settings.schemas_dir)), now_us=now_us)
        await stores.stock.create_indexes()
        world = loading.Deps(
            products=stores.products, stock=stores.stock, transactions=stores.transactions, seal=vault.seal
        )
        suppliers = build_suppliers(stores.stock, vault.seal, is_simulated=settings.simulated_supplier)
        await work(CliDeps(stores=stores, vault=vault, suppliers=suppliers.keys(), loading=world))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is no text in UTF-8") from None


def _entry(line: str) -> dict[str, str]:
    code, comma, pin = line.partition(",")
    return {"redeemCode": code.strip(), **({"pinCode": pin.strip()} if comma else {})}


def _mistake(what: str, refused: InvalidRequestError) -> ValueError:
    faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in refused.faults[:5])
    return ValueError(f"{what}: {faults}")


def _mistaken_lines(name: str, refused: InvalidRequestError, lines: Sequence[tuple[int, str]]) -> ValueError:
    faults = [(lines[int(fault.pointer.split("/")[2])][0], fault.detail) for fault in refused.faults[:5]]
    return ValueError("; ".join(f"{name}, line {number}: {detail}" for number, detail in faults))


def _run(work: Coroutine[Any, Any, None]) -> None:
    run_command(work, WrongKeyError, ValueError, OSError)
