"""Settings from the environment: declared once, checked all together, documented from the declaration.

A field's upper-case name is its variable; `<NAME>_FILE` names a file that holds the value instead (for secrets).
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import DirectoryPath, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

S = TypeVar("S", bound="ServiceSettings")

REPOSITORY = Path(__file__).resolve().parents[3]
# In user and password all that means something here is percent-encoded.
_CONNECTION_STRING = re.compile(
    r"mongodb(?:\+srv)?://"
    r"(?:(?:[^\s/?@:%]|%[0-9a-fA-F]{2})*(?::(?:[^\s/?@:%]|%[0-9a-fA-F]{2})*)?@)?"
    r"(?:\[[^\s/?@\]]+\]|[^\s/?@,:]+)(?::\d{1,5})?(?:,(?:\[[^\s/?@\]]+\]|[^\s/?@,:]+)(?::\d{1,5})?)*"
    r"(?:/[^\s?@]*)?(?:\?\S*)?"
)
_DATABASE = re.compile(r"""[^/\\. "$*<>:|?\x00]{1,63}""")
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_ADDRESS = re.compile(r"[^\s:/,]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")


class _UnreadableFile:
    """Stands for a file that could not be read, until the field is checked with all the others."""

    def __init__(self, why: str) -> None:
        self.why = why


class FileSecretsSource(PydanticBaseSettingsSource):
    """Values from the files that `<NAME>_FILE` variables name, as container platforms mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without its last line break, or None."""
        del field
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as error:
            return _UnreadableFile(f"{field_name.upper()}_FILE cannot be read: {error.strerror}"), field_name, False
        except ValueError:
            return _UnreadableFile(f"{field_name.upper()}_FILE holds no UTF-8 text"), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values that come from files."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class EnvironmentSettings(BaseSettings):
    """What all groups of settings share. Each derives from it: of several parents' configurations the last one wins."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True, env_ignore_empty=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a setting that the documentation could not explain."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not (field.description or "").endswith("."):
                raise TypeError(f"setting {name.upper()} lacks its sentence")

    @field_validator("*", mode="before")
    @classmethod
    def _is_readable(cls, value: object) -> object:
        if isinstance(value, _UnreadableFile):
            raise ValueError(value.why)  # noqa: TRY004 - pydantic reports ValueError
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments (tests), then the environment, then files named by the environment."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, FileSecretsSource(settings_cls)


class ServiceSettings(EnvironmentSettings):
    """What every process can be told."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    operations_host: str = Field("127.0.0.1", description="Address of the operations port.")
    operations_port: int = Field(
        9000, ge=0, le=65535, description="Port of `/live`, `/ready` and `/metrics`; 0 picks a free one."
    )
    schemas_dir: DirectoryPath = Field(
        REPOSITORY / "schemas", description="Directory of the Avro and OpenAPI documents."
    )
    drain_timeout_s: float = Field(
        8.0, gt=0, le=60, allow_inf_nan=False, description="Longest time that work in flight gets at shutdown."
    )


class ApiSettings(EnvironmentSettings):
    """Where a service's API listens."""

    http_host: str = Field("127.0.0.1", description="Address of the API.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")


class RegistrySettings(EnvironmentSettings):
    """Where schema ids come from."""

    schema_registry_url: str | None = Field(
        None, description="A Confluent-compatible schema registry; without one the ids in `schemas/ids.json` hold."
    )
    schema_registry_username: str | None = Field(None, description="User at the schema registry.")
    schema_registry_password: SecretStr | None = Field(None, description="Password at the schema registry.")

    @field_validator("schema_registry_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http(s) URL")
        return value


class KafkaSettings(RegistrySettings):
    """How Kafka is reached, and what its records are written with."""

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Brokers to start from, `host:port,host:port`.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How connections are secured."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, where SASL is used."
    )
    kafka_sasl_username: str | None = Field(None, validate_default=True, description="SASL user.")
    kafka_sasl_password: SecretStr | None = Field(None, validate_default=True, description="SASL password.")
    kafka_ssl_cafile: Path | None = Field(None, description="Certificates that brokers are checked against (PEM).")
    kafka_ssl_certfile: Path | None = Field(None, description="Client certificate (PEM), where brokers ask for one.")
    kafka_ssl_keyfile: Path | None = Field(None, description="Key of the client certificate (PEM).")
    kafka_send_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Longest wait for an acknowledgement; then the outcome is unknown."
    )
    kafka_session_timeout_ms: int = Field(
        45_000, ge=1_000, le=300_000, description="Silence after which a group member counts as dead."
    )
    kafka_group_instance_id: str | None = Field(
        None, description="Name of this group member that survives restarts (static membership); unique in its group."
    )
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "snappy", description="Compression of what is produced; snappy costs least CPU, zstd least room."
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        if not all(_ADDRESS.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError("must be host:port, or several of them with commas between")
        return value

    @field_validator("kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _is_there_for_sasl(cls, value: object, info: ValidationInfo) -> object:
        # A client without credentials would fail later, in the background, and for ever.
        if value is None and str(info.data.get("kafka_security_protocol", "")).startswith("SASL"):
            raise ValueError("must be set where SASL is used")
        return value


class MongoSettings(EnvironmentSettings):
    """How MongoDB is reached."""

    mongodb_uri: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0"),
        description="Connection string; may hold credentials and TLS options.",
    )
    mongodb_database: str = Field("tillstream", description="Database that holds the collections.")
    mongo_driver: Literal["motor", "pymongo"] = Field("motor", description="Driver; both do the same.")
    mongodb_timeout_ms: int = Field(5_000, ge=100, description="Longest time that one operation may take.")

    @field_validator("mongodb_database")
    @classmethod
    def _is_name_of_a_database(cls, value: str) -> str:
        if not _DATABASE.fullmatch(value):
            raise ValueError('must have 1 to 63 characters, and none of /\\. "$*<>:|?')
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _is_connection_string(cls, value: SecretStr) -> SecretStr:
        if not _CONNECTION_STRING.fullmatch(value.get_secret_value()):
            raise ValueError("must be mongodb://… or mongodb+srv://…, with user and password percent-encoded")
        return value


class DeadLetterLimitSettings(EnvironmentSettings):
    """When a partition is stopped rather than drained into dead letters."""

    dead_letter_max_consecutive: int = Field(
        1_000, ge=0, description="A partition is stopped in front of the next dead letter after so many in a row."
    )
    dead_letter_window: int = Field(
        10_000, ge=1, description="Records of a partition among which the share of dead letters is looked at."
    )
    dead_letter_max_ratio: float = Field(
        0.5, gt=0, le=1, description="A partition is stopped when more of the latest records than this share died."
    )


class TokenSettings(EnvironmentSettings):
    """How tokens are verified."""

    auth_issuer: str = Field(
        "https://tillstream.example", description="Issuer that tokens must name; tells environments apart."
    )
    auth_jwks_url: str = Field(
        "http://127.0.0.1:8001/.well-known/jwks.json", description="Where the signing keys are published."
    )
    auth_algorithm: Literal["RS256", "ES256"] = Field("RS256", description="The one signature algorithm in use.")
    auth_jwks_refresh_s: float = Field(
        300.0,
        gt=0,
        le=3_600,
        description="How often the signing keys are fetched; the same everywhere, for auth publishes a new key twice "
        "as long before it signs.",
    )

    @field_validator("auth_jwks_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must be an http(s) URL")
        return value


def load(settings_class: type[S]) -> S:
    """The settings from the environment, or all their mistakes on standard error and exit status 2."""
    try:
        return settings_class()
    except ValidationError as error:
        # Neither the input nor its context: both may hold a secret.
        mistakes = [_mistake(e["loc"], e["msg"]) for e in error.errors(include_input=False, include_context=False)]
    except SettingsError as error:
        mistakes = [f"  {error}"]
    raise exit_with_errors(mistakes)


def exit_with_errors(mistakes: Sequence[str]) -> SystemExit:
    """Tell on standard error which settings cannot be used; raise what this returns."""
    sys.stderr.write("Settings are not usable:\n" + "\n".join(mistakes) + "\n")
    return SystemExit(2)


def _mistake(place: tuple[int | str, ...], message: str) -> str:
    return f"  {str(place[0]).upper() if place else 'together'}: {message.removeprefix('Value error, ')}"


def redacted(settings: BaseSettings) -> dict[str, str]:
    """The settings as they may be logged: secrets are masked by their type, credentials in addresses by their place."""
    return {name: _CREDENTIALS.sub("//***@", str(value)) for name, value in sorted(settings.model_dump().items())}
