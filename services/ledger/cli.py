"""Operator commands of the ledger: audit and rebuild sums."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from services.chassis.avro.registry_client import load_schemas
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.command import async_command
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings, load
from services.chassis.security.sites import Sites
from services.ledger.adapters.collections import create_indexes
from services.ledger.adapters.ledger import MongoLedger
from services.ledger.adapters.sums import MongoSums
from services.ledger.adapters.zones import SiteZones
from services.ledger.domain.money import format_amount
from services.ledger.domain.sums import Amounts, Cell, to_date
from services.ledger.flows import audit as auditing
from services.ledger.flows import rebuild as rebuilding
from services.topics import AUTH_SITES, SUBJECTS_BY_SCHEMA

SITES_TIMEOUT_S = 30.0
MAX_SHOWN = 20

ledger = typer.Typer(no_args_is_help=True, help="Sums of sales: compare them with the entries, rebuild them.")
command = async_command(ValueError)


class LedgerCliSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the ledger's commands."""


@ledger.command("audit")
@command
async def audit(
    site: Annotated[int | None, typer.Option(help="Only this site.", min=0)] = None,
) -> None:
    """Compare all sums with all entries, while both change. Exit code 1 if any differs."""
    async with Mongo.connect(load(LedgerCliSettings)) as mongo:
        sums = MongoSums(mongo)
        deps = auditing.Deps(reports=sums, zones=SiteZones(None), now_us=now_us)
        results = await auditing.audit_all(deps) if site is None else [await auditing.audit(site, deps)]
    for result in results:
        typer.echo(f"site {result.site}: {result.groups} orders, {result.differing} sums differ")
        for name, differences in (("all stores", result.all_stores), ("by store", result.by_store)):
            for cell, amounts in sorted(differences.items(), key=str)[:MAX_SHOWN]:
                typer.echo(f"  {name}: {_describe(cell)}: {_describe_amounts(amounts)}")
    if any(result.differing for result in results):
        raise typer.Exit(1)


@ledger.command("rebuild")
@command
async def rebuild(
    site: Annotated[int, typer.Argument(help="The site whose sums are rebuilt.", min=0)],
) -> None:
    """Rebuild a site's sums from its entries, in its present time zone, and switch to them; others may read meanwhile.

    Run it again if it was interrupted: it continues.
    """
    settings = load(LedgerCliSettings)
    async with Mongo.connect(settings) as mongo, _loaded_sites(settings) as sites:
        await create_indexes(mongo)
        deps = rebuilding.Deps(
            ledger=MongoLedger(mongo, now=lambda: datetime.now(UTC), user_fingerprint=_no_fingerprint),
            sums=MongoSums(mongo),
            zones=SiteZones(sites),
            now_us=now_us,
            new_id=lambda: uuid4().hex,
        )
        moved = await rebuilding.rebuild(site, deps)
    if moved is None:
        raise ValueError(f"the ledger knows no site {site}")
    typer.echo(f"site {site}: rebuilt from {moved} orders")


@asynccontextmanager
async def _loaded_sites(settings: LedgerCliSettings) -> AsyncIterator[Sites]:
    sites = Sites(await load_schemas(settings.schemas_dir, settings, SUBJECTS_BY_SCHEMA, wait=False))
    table = CompactedTable(settings, AUTH_SITES.name, sites.apply, client_id="operator")
    await table.start()
    try:
        await table.wait_ready(SITES_TIMEOUT_S)
        yield sites
    finally:
        await table.stop()


def _no_fingerprint(_site: int, _user_id: str) -> str:
    raise NotImplementedError  # a rebuild reads entries: only recording asks which users were erased


def _describe(cell: Cell) -> str:
    labels = (to_date(cell.day).isoformat(), cell.channel, cell.mode, cell.currency, cell.store)
    return " ".join("-" if label is None else label for label in labels)


def _describe_amounts(amounts: Amounts) -> str:
    money = {"gross", "coupons", "returned"}
    parts = [
        f"{name} {format_amount(amount) if name in money else amount}"
        for name, amount in amounts._asdict().items()
        if amount
    ]
    return ", ".join(parts)
