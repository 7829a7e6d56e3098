"""Settings: environment only, all errors at once, secrets from files, nothing secret shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from pydantic import Field, SecretStr

from services.chassis.runtime.settings import (
    ApiSettings,
    EnvironmentSettings,
    KafkaSettings,
    MongoSettings,
    ServiceSettings,
    TokenSettings,
    load,
    redacted,
)


class Settings(ServiceSettings, ApiSettings, KafkaSettings, MongoSettings, TokenSettings):
    """Everything a service can be told."""

    pin: SecretStr = Field(SecretStr("123456"), min_length=6, description="A secret with a rule of its own.")


Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets variables; none of ours is set beforehand."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)

    def put(**variables: str | Path) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return put


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_a_variable_is_the_field_in_upper_case(environment: Environment) -> None:
    environment(HTTP_PORT="8123", KAFKA_BOOTSTRAP_SERVERS="a:1,b:2", LOG_LEVEL="DEBUG")
    settings = load(Settings)
    assert (settings.http_port, settings.kafka_bootstrap_servers, settings.log_level) == (8123, "a:1,b:2", "DEBUG")


def test_without_an_environment_the_defaults_hold(environment: Environment) -> None:
    environment()
    settings = load(Settings)
    assert settings.operations_host == "127.0.0.1"
    assert settings.drain_timeout_s < 10


def test_an_empty_variable_is_as_if_it_were_not_there(environment: Environment) -> None:
    environment(HTTP_PORT="", KAFKA_SASL_USERNAME="")
    settings = load(Settings)
    assert settings.http_port == 8000
    assert settings.kafka_sasl_username is None


def test_unknown_variables_are_ignored(environment: Environment) -> None:
    environment(HTTP_PROT="8123", KAFKA_ANYTHING="x")
    assert load(Settings).http_port == 8000


def test_all_mistakes_are_reported_together(
    environment: Environment, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment(
        HTTP_PORT="eighty",
        LOG_LEVEL="LOUD",
        KAFKA_SEND_TIMEOUT_S="-1",
        AUTH_JWKS_URL="ftp://x",
        KAFKA_BOOTSTRAP_SERVERS="nonsense",
        MONGODB_URI_FILE=tmp_path / "nowhere",
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
    )
    told = errors(capsys)
    for name in (
        "HTTP_PORT",
        "LOG_LEVEL",
        "KAFKA_SEND_TIMEOUT_S",
        "AUTH_JWKS_URL",
        "KAFKA_BOOTSTRAP_SERVERS",
        "MONGODB_URI",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
    ):
        assert f"  {name}: " in told
    assert len(told.splitlines()) == 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "65536"),
        ("DRAIN_TIMEOUT_S", "nan"),
        ("DRAIN_TIMEOUT_S", "inf"),
        ("KAFKA_SEND_TIMEOUT_S", "inf"),
        ("KAFKA_SEND_TIMEOUT_S", "nan"),
        ("KAFKA_SEND_TIMEOUT_S", "0"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://kafka:9092"),
        ("KAFKA_SESSION_TIMEOUT_MS", "10"),
        ("KAFKA_COMPRESSION", "rar"),
        ("SCHEMAS_DIR", "/no/such/directory"),
        ("MONGODB_URI", "mongo.example:27017"),
        ("MONGODB_URI", "mongodb://"),
        ("MONGODB_URI", "mongodb://user:pass@word@mongo.example"),
        ("MONGODB_URI", "mongodb://user:pass:word@mongo.example"),
        ("MONGODB_URI", "mongodb://user:pass/word@mongo.example"),
        ("MONGODB_URI", "mongodb://user:pass?word@mongo.example"),
        ("MONGODB_URI", "mongodb://user:100%@mongo.example"),
        ("MONGODB_URI", "mongodb://mongo.example:port"),
        ("MONGODB_DATABASE", "a b"),
        ("MONGODB_DATABASE", "a.b"),
        ("MONGODB_DATABASE", "x" * 64),
        ("MONGO_DRIVER", "odbc"),
        ("MONGODB_TIMEOUT_MS", "0"),
        ("AUTH_ALGORITHM", "HS256"),
    ],
)
def test_a_value_that_cannot_work_is_refused(
    environment: Environment, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment(**{name: value})
    assert f"  {name}: " in errors(capsys)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:pass%40word@a:27017,b:27018,[::1]:27019/tillstream?replicaSet=rs0&tls=true",
        "mongodb+srv://user@cluster.example/?retryWrites=true",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock",
    ],
)
def test_connection_strings(environment: Environment, uri: str) -> None:
    environment(MONGODB_URI=uri)
    assert load(Settings).mongodb_uri.get_secret_value() == uri


@pytest.mark.parametrize("servers", ["kafka:9092", "a:1, b:2", "10.0.0.1:9092,[::1]:9093"])
def test_addresses_of_brokers(environment: Environment, servers: str) -> None:
    environment(KAFKA_BOOTSTRAP_SERVERS=servers)
    assert load(Settings).kafka_bootstrap_servers == servers


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_secret_may_come_from_a_file(environment: Environment, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "password").write_text(" s3cret \n", encoding=encoding)
    environment(KAFKA_SASL_PASSWORD_FILE=tmp_path / "password")
    password = load(Settings).kafka_sasl_password
    assert password is not None
    assert password.get_secret_value() == " s3cret "


def test_the_variable_itself_goes_before_the_file(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("mongodb://file", encoding="utf-8")
    environment(MONGODB_URI="mongodb://variable", MONGODB_URI_FILE=tmp_path / "uri")
    assert load(Settings).mongodb_uri.get_secret_value() == "mongodb://variable"


def test_a_file_without_text_is_a_mistake(
    environment: Environment, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    environment(MONGODB_URI_FILE=tmp_path / "binary", HTTP_PORT="x")
    told = errors(capsys)
    assert "MONGODB_URI: MONGODB_URI_FILE is not valid UTF-8" in told
    assert "HTTP_PORT" in told


def test_a_mistake_in_a_secret_does_not_print_it(
    environment: Environment, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "pin").write_text("zq7", encoding="utf-8")
    environment(PIN_FILE=tmp_path / "pin")
    told = errors(capsys)
    assert "PIN" in told
    assert "zq7" not in told


def test_sasl_with_credentials_is_accepted(environment: Environment) -> None:
    environment(KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA_SASL_USERNAME="u", KAFKA_SASL_PASSWORD="p")
    assert load(Settings).kafka_sasl_username == "u"


def test_shown_settings_are_text_and_hold_no_secret(environment: Environment) -> None:
    environment(
        MONGODB_URI="mongodb://user:canary-1@host", KAFKA_SASL_PASSWORD="canary-2", PIN="canary-3", HTTP_PORT="8123"
    )
    text = json.dumps(redacted(load(Settings)))
    assert "canary" not in text
    assert '"http_port": "8123"' in text


@pytest.mark.parametrize(
    ("address", "readable"),
    [
        ("https://reader:pa:ss%20w@registry:8081/x", "https://***@registry:8081/x"),
        ("https://registry:8081/x@y", "https://registry:8081/x@y"),
    ],
)
def test_what_an_address_says_of_its_user_is_not_shown(environment: Environment, address: str, readable: str) -> None:
    environment(SCHEMA_REGISTRY_URL=address)
    assert redacted(load(Settings))["schema_registry_url"] == readable


def test_settings_do_not_change(environment: Environment) -> None:
    environment()
    with pytest.raises(ValueError, match="frozen"):
        load(Settings).http_port = 1  # type: ignore[misc] # which is the point


@pytest.mark.parametrize("sentence", [None, "", "no full stop"])
def test_a_setting_without_its_sentence_cannot_be_declared(sentence: str | None) -> None:
    with pytest.raises(TypeError, match="setting NAMELESS has no description"):

        class Undocumented(EnvironmentSettings):
            nameless: int = Field(1, description=sentence)


@pytest.mark.parametrize("name", ["kafka_sasl_password", "mongodb_uri"])
def test_what_may_hold_a_secret_is_declared_as_one(name: str) -> None:
    annotation = Settings.model_fields[name].annotation
    assert SecretStr in (annotation, *get_args(annotation))
