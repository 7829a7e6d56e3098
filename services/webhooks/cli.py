"""Operator commands for endpoints."""

import typer

from services.chassis.mongodb.client import Mongo
from services.chassis.mongodb.key_check import retire_key_ids
from services.chassis.runtime.clock import now_us
from services.chassis.runtime.command import async_command
from services.chassis.runtime.settings import MongoSettings, ServiceSettings, load
from services.chassis.security.audit import AuditLog
from services.chassis.security.keyed_cipher import WrongKeyError, parse_keys
from services.webhooks.adapters.endpoint_store import MongoEndpointStore
from services.webhooks.adapters.secret_sealer import ENCRYPTION_KEYS, AesSecretSealer
from services.webhooks.settings import SecretSealerSettings

BATCH_SIZE = 100

webhooks = typer.Typer(no_args_is_help=True, help="Encryption keys of endpoints' secrets.")
command = async_command(WrongKeyError, ValueError)


class CliSettings(ServiceSettings, MongoSettings, SecretSealerSettings):
    """Settings of the commands for endpoints."""


@webhooks.callback()
def show_help() -> None:
    """Keep the command a command of its own, although it is the only one."""


@webhooks.command("reseal")
@command
async def reseal() -> None:
    """Encrypt every endpoint's secrets with the first of WEBHOOKS_ENCRYPTION_KEYS; then the others are not needed."""
    settings = load(CliSettings)
    sealer = AesSecretSealer(parse_keys(settings.webhooks_encryption_keys.get_secret_value()))
    count = 0
    async with Mongo.connect(settings) as mongo:
        endpoints = MongoEndpointStore(mongo, now_us=now_us)
        while found := await endpoints.find_sealed_with_other_keys(sealer.key_id, limit=BATCH_SIZE):
            for endpoint in found:
                # One whose secret is being rotated is found again.
                count += await endpoints.replace_secrets(endpoint, sealer.reseal(endpoint))
        await retire_key_ids(mongo, ENCRYPTION_KEYS, kept=[sealer.key_id])
    AuditLog().record("secrets-resealed", actor="operator", source="command line", endpoints=count, key=sealer.key_id)
    typer.echo(f"the secrets of {count} endpoints resealed")
