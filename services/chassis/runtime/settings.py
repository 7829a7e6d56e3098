"""Settings from the environment: declared once, validated together, documented from the declaration.

A field is read from the environment variable with its upper-case name, or from the file that `<NAME>_FILE` names (for
secrets).
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, DirectoryPath, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

SettingsT = TypeVar("SettingsT", bound="ServiceSettings")

REPOSITORY = Path(__file__).resolve().parents[3]
# Reserved characters in user and password are percent-encoded.
_CONNECTION_STRING = re.compile(
    r"mongodb(?:\+srv)?://"
    r"(?:(?:[^\s/?@:%]|%[0-9a-fA-F]{2})*(?::(?:[^\s/?@:%]|%[0-9a-fA-F]{2})*)?@)?"
    r"(?:\[[^\s/?@\]]+\]|[^\s/?@,:]+)(?::\d{1,5})?(?:,(?:\[[^\s/?@\]]+\]|[^\s/?@,:]+)(?::\d{1,5})?)*"
    r"(?:/[^\s?@]*)?(?:\?\S*)?"
)
_DATABASE = re.compile(r"""[^/\\. "$*<>:|?\x00]{1,63}""")
_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_ADDRESS = re.compile(r"[^\s:/,]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")


def _check_http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be an http(s) URL")
    return value


HttpUrl = Annotated[str, AfterValidator(_check_http_url)]


class _UnreadableFile:
    """A file that could not be read; reported when its field is validated, with all other errors."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class FileSecretsSource(PydanticBaseSettingsSource):
    """Values from the files that `<NAME>_FILE` variables name, as container platforms mount secrets."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the file's text without its last line break and a byte order mark, or None."""
        del field
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n"), field_name, False
        except OSError as error:
            return _UnreadableFile(f"{field_name.upper()}_FILE cannot be read: {error.strerror}"), field_name, False
        except ValueError:
            return _UnreadableFile(f"{field_name.upper()}_FILE is not valid UTF-8"), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all values from files."""
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


class EnvironmentSettings(BaseSettings):
    """Base of all groups of settings. With several parents, pydantic takes the last one's configuration."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True, env_ignore_empty=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Reject a setting without a description."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if not (field.description or "").endswith("."):
                raise TypeError(f"setting {name.upper()} has no description that ends in a full stop")

    @field_validator("*", mode="before")
    @classmethod
    def _reject_unreadable_file(cls, value: object) -> object:
        if isinstance(value, _UnreadableFile):
            raise ValueError(value.reason)  # noqa: TRY004 - pydantic reports ValueError
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
        """Return arguments (tests) first, then the environment, then the files that it names."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, FileSecretsSource(settings_cls)


class ServiceSettings(EnvironmentSettings):
    """Settings of every process."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Minimum level of logs.")
    operations_host: str = Field("127.0.0.1", description="Address of the operations port.")
    operations_port: int = Field(
        9000, ge=0, le=65535, description="Port of `/live`, `/ready` and `/metrics`; 0 picks a free one."
    )
    schemas_dir: DirectoryPath = Field(
        REPOSITORY / "schemas", description="Directory of the Avro and OpenAPI documents."
    )
    drain_timeout_s: float = Field(
        8.0, gt=0, le=60, allow_inf_nan=False, description="Maximum time for work in progress at shutdown."
    )


class ApiSettings(EnvironmentSettings):
    """Address of a service's API."""

    http_host: str = Field("127.0.0.1", description="Address of the API.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 picks a free one.")


class RegistrySettings(EnvironmentSettings):
    """Source of schema ids."""

    schema_registry_url: HttpUrl | None = Field(
        None, description="Confluent-compatible schema registry; without one the ids of `schemas/ids.json` are used."
    )
    schema_registry_username: str | None = Field(None, description="User at the schema registry.")
    schema_registry_password: SecretStr | None = Field(None, description="Password at the schema registry.")


class KafkaSettings(RegistrySettings):
    """Connection to Kafka."""

    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Bootstrap servers, `host:port,host:port`.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Security protocol."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism."
    )
    kafka_sasl_username: str | None = Field(None, validate_default=True, description="SASL user.")
    kafka_sasl_password: SecretStr | None = Field(None, validate_default=True, description="SASL password.")
    kafka_ssl_cafile: Path | None = Field(None, description="CA certificates of the brokers (PEM).")
    kafka_ssl_certfile: Path | None = Field(None, description="Client certificate (PEM), for mutual TLS.")
    kafka_ssl_keyfile: Path | None = Field(None, description="Key of the client certificate (PEM).")
    kafka_send_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Timeout of an acknowledgement; after it the outcome is unknown."
    )
    kafka_session_timeout_ms: int = Field(
        45_000,
        ge=1_000,
        le=300_000,
        description="Time without heartbeats after which a group member is considered dead.",
    )
    kafka_group_instance_id: str | None = Field(
        None, description="Instance id for static group membership; unique in its group."
    )
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "snappy", description="Compression of produced batches; snappy takes the least CPU, zstd the least space."
    )

    kafka_max_clock_offset_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum difference between the local clock and the brokers'; beyond it a service is not ready.",
    )

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _validate_addresses(cls, value: str) -> str:
        if not all(_ADDRESS.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError("must be host:port, or several separated by commas")
        return value

    @field_validator("kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _require_for_sasl(cls, value: object, info: ValidationInfo) -> object:
        # A client without credentials would fail forever, and only in the background.
        if value is None and str(info.data.get("kafka_security_protocol", "")).startswith("SASL"):
            raise ValueError("must be set with SASL")
        return value


class MongoSettings(EnvironmentSettings):
    """Connection to MongoDB."""

    mongodb_uri: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0"),
        description="Connection string, which may contain credentials and TLS options.",
    )
    mongodb_database: str = Field("tillstream", description="Name of the database.")
    mongo_driver: Literal["motor", "pymongo"] = Field("motor", description="Driver; both behave the same.")
    mongodb_timeout_ms: int = Field(5_000, ge=100, description="Timeout of one operation.")

    @field_validator("mongodb_database")
    @classmethod
    def _validate_database_name(cls, value: str) -> str:
        if not _DATABASE.fullmatch(value):
            raise ValueError('must have 1 to 63 characters, and none of /\\. "$*<>:|?')
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _validate_connection_string(cls, value: SecretStr) -> SecretStr:
        if not _CONNECTION_STRING.fullmatch(value.get_secret_value()):
            raise ValueError("must be mongodb://… or mongodb+srv://…, with user and password percent-encoded")
        return value


class DeadLetterLimitSettings(EnvironmentSettings):
    """When a partition is halted instead of being drained into dead letters."""

    dead_letter_max_consecutive: int = Field(
        1_000, ge=0, description="Maximum dead letters in a row; a partition is halted before the next one."
    )
    dead_letter_window: int = Field(
        10_000, ge=1, description="Number of recent records of a partition to which the maximum ratio applies."
    )
    dead_letter_max_ratio: float = Field(
        0.5, gt=0, le=1, description="Maximum ratio of dead letters among the recent records of a partition."
    )


RATE_LIMIT_SCHEMES = ("valkey://", "valkeys://", "redis://", "rediss://", "unix://")


class RateLimitSettings(EnvironmentSettings):
    """Store of the rate limit."""

    rate_limit_url: SecretStr | None = Field(
        None,
        description="Valkey or Redis that stores the rate limit for all replicas, `valkey://host:port/0`; without it "
        "each replica limits on its own.",
    )

    @field_validator("rate_limit_url")
    @classmethod
    def _validate_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(RATE_LIMIT_SCHEMES):
            raise ValueError(f"must start with one of {', '.join(RATE_LIMIT_SCHEMES)}")
        return value


class TokenSettings(EnvironmentSettings):
    """Verification of access tokens."""

    auth_issuer: str = Field(
        "https://tillstream.example", description="Issuer that tokens must name; distinguishes environments."
    )
    auth_jwks_url: HttpUrl = Field(
        "http://127.0.0.1:8001/.well-known/jwks.json", description="URL of the signing keys."
    )
    auth_algorithm: Literal["RS256", "ES256"] = Field("RS256", description="Signature algorithm.")
    auth_jwks_refresh_s: float = Field(
        300.0,
        gt=0,
        le=3_600,
        description="Interval at which the signing keys are fetched; must be the same in all services, because auth "
        "publishes a new key two intervals before signing with it.",
    )
    auth_max_staleness_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="Maximum time without confirmation by Kafka that all sites and revocations are known; beyond it a "
        "service is not ready.",
    )
    auth_refuse_when_stale: bool = Field(
        default=False,
        description="Whether tokens are refused beyond that time, with a 503; otherwise they are accepted, also those "
        "that were revoked meanwhile.",
    )


def load(settings_class: type[SettingsT]) -> SettingsT:
    """Return the settings; print all errors and exit with status 2 if any is invalid."""
    try:
        return settings_class()
    except ValidationError as error:
        # Input and context are left out: both may contain a secret.
        errors = [_format_error(e["loc"], e["msg"]) for e in error.errors(include_input=False, include_context=False)]
    except SettingsError as error:
        errors = [f"  {error}"]
    raise exit_with_errors(errors)


def exit_with_errors(errors: Sequence[str]) -> SystemExit:
    """Print the errors of settings; raise what this returns."""
    sys.stderr.write("Invalid settings:\n" + "\n".join(errors) + "\n")
    return SystemExit(2)


def _format_error(location: tuple[int | str, ...], message: str) -> str:
    return f"  {str(location[0]).upper() if location else 'together'}: {message.removeprefix('Value error, ')}"


def redacted(settings: BaseSettings) -> dict[str, str]:
    """Return the settings for the log: secrets are masked by their type, credentials in URLs by a pattern."""
    return {name: _CREDENTIALS.sub("//***@", str(value)) for name, value in sorted(settings.model_dump().items())}
