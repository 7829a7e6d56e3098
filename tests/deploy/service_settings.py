"""What each service can be told."""

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from sandbox.services import SERVICES
from services.auth.settings import AuthSettings
from services.cli.settings import CliSettings
from services.fulfilment.settings import Settings as FulfilmentSettings
from services.ingest.settings import Settings as IngestSettings
from services.status.settings import Settings as StatusSettings
from services.validator.settings import Settings as ValidatorSettings

SETTINGS: dict[str, type[BaseSettings]] = {
    "auth": AuthSettings,
    "ingest": IngestSettings,
    "validator": ValidatorSettings,
    "status": StatusSettings,
    "fulfilment": FulfilmentSettings,
}
NAMES = tuple(service.name for service in SERVICES)
# What the image itself says, for every service.
IMAGE_VARIABLES = {"HTTP_HOST", "HTTP_PORT", "OPERATIONS_HOST", "OPERATIONS_PORT"}


def settings_fields(service: str) -> dict[str, FieldInfo]:
    """Its settings, by the variable's name."""
    return {name.upper(): field for name, field in SETTINGS[service].model_fields.items()}


def all_variables() -> set[str]:
    """Every variable that any service or the operator's command knows."""
    known: list[type[BaseSettings]] = [*SETTINGS.values(), CliSettings]
    return {name.upper() for settings in known for name in settings.model_fields}


def setting_names(environment: dict[str, str]) -> set[str]:
    """The settings that an environment sets, as values or as files."""
    return {name.removesuffix("_FILE") for name in environment}
