"""The settings of each service."""

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from sandbox.services import SERVICES
from services.auth.settings import AuthSettings
from services.cli.settings import CliSettings
from services.fulfilment.settings import Settings as FulfilmentSettings
from services.ingest.settings import Settings as IngestSettings
from services.ledger.settings import Settings as LedgerSettings
from services.operator.settings import Settings as OperatorSettings
from services.portal.settings import Settings as PortalSettings
from services.status.settings import Settings as StatusSettings
from services.validator.settings import Settings as ValidatorSettings
from services.webhooks.settings import Settings as WebhooksSettings

SETTINGS: dict[str, type[BaseSettings]] = {
    "auth": AuthSettings,
    "ingest": IngestSettings,
    "validator": ValidatorSettings,
    "status": StatusSettings,
    "fulfilment": FulfilmentSettings,
    "ledger": LedgerSettings,
    "webhooks": WebhooksSettings,
    "operator": OperatorSettings,
    "portal": PortalSettings,
}
NAMES = tuple(service.name for service in SERVICES)
# Services that use Kafka; the portal does not.
KAFKA_NAMES = tuple(name for name in NAMES if "kafka_bootstrap_servers" in SETTINGS[name].model_fields)
# Variables that the image sets for every service.
IMAGE_VARIABLES = {"HTTP_HOST", "HTTP_PORT", "OPERATIONS_HOST", "OPERATIONS_PORT"}


def settings_fields(service: str) -> dict[str, FieldInfo]:
    """Return a service's settings by the name of their variable."""
    return {name.upper(): field for name, field in SETTINGS[service].model_fields.items()}


def all_variables() -> set[str]:
    """Return every variable that a service or the CLI reads."""
    known: list[type[BaseSettings]] = [*SETTINGS.values(), CliSettings]
    return {name.upper() for settings in known for name in settings.model_fields}


def setting_names(environment: dict[str, str]) -> set[str]:
    """Return the settings that an environment sets, as values or as files."""
    return {name.removesuffix("_FILE") for name in environment}
