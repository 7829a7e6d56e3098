"""Settings of the portal."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.chassis.http.source_address import ProxySettings
from services.chassis.runtime.settings import ApiSettings, HttpUrl, MongoSettings, ServiceSettings
from services.chassis.security.keyed_cipher import parse_keys
from services.portal.domain.openid import is_safe_url, parse_clients
from services.portal.domain.origins import is_loopback


class Settings(ServiceSettings, ApiSettings, MongoSettings, ProxySettings):
    """Settings of the portal service."""

    portal_url: HttpUrl = Field(
        "http://127.0.0.1:8080",
        description="Origin under which browsers reach the portal; https, except on a loopback address.",
    )
    portal_api_url: HttpUrl = Field(
        "http://127.0.0.1:8080", description="Base URL of the public APIs: the gateway, as this process reaches it."
    )
    portal_admin_url: HttpUrl | None = Field(
        None, description="Base URL of auth's admin API; without it operators cannot sign in."
    )
    portal_operator_url: HttpUrl | None = Field(
        None, description="Base URL of the operator's API; without it topics, dead letters and replays are not shown."
    )
    portal_grafana_url: HttpUrl | None = Field(
        None, description="Address of Grafana that operators are led to; without it there is no such link."
    )
    portal_encryption_keys: SecretStr = Field(
        description="Keys that encrypt sessions, 32 bytes each in base64, comma-separated; the first one encrypts."
    )
    portal_sign_ins_per_minute: int = Field(
        10, ge=1, description="Failed sign-ins from one address in any minute, and thrice as many for one client id."
    )
    portal_audit_days: int = Field(
        365, ge=1, le=3_650, description="Days for which the audit trail of sign-ins and of shown codes is kept."
    )
    portal_spool_dir: Path = Field(
        Path("/tmp/tillstream-portal"),  # noqa: S108 - only its owner may enter it
        description="Directory for copies of uploaded files while they are read; nothing is lost with it.",
    )
    portal_quota_mb: int = Field(
        4_096, ge=1, description="Megabytes that the uploaded files of one site may take together."
    )
    portal_file_days: int = Field(7, ge=1, le=30, description="Days for which an uploaded file is kept.")
    portal_max_imports: int = Field(
        4, ge=1, le=64, description="Files that one replica checks or imports at the same time."
    )
    portal_max_streams: int = Field(
        2_000, ge=1, description="Browsers that may follow live changes at the same time; others reload by hand."
    )

    oidc_issuer: HttpUrl | None = Field(
        None,
        description="OpenID Connect issuer by which people may sign in, exactly as its discovery document names it; "
        "https, except on a loopback address. Without it they sign in with a client's secret only.",
    )
    oidc_client_id: str = Field("", validate_default=True, description="The portal's client id at the issuer.")
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="The portal's secret at the issuer; empty of a public client."
    )
    oidc_scopes: str = Field("openid", description="Scopes that are asked for, `openid` among them.")
    oidc_claim: str = Field(
        "sub",
        min_length=1,
        description="Claim of the ID token by which people are mapped to clients, such as `groups`; one that they "
        "cannot change themselves. `email` counts only with `email_verified`.",
    )
    oidc_clients: SecretStr = Field(
        SecretStr(""),
        validate_default=True,
        description="Which client people are, by value of the claim: a JSON object such as "
        '`{"sales-team": {"client_id": "…", "client_secret": "…"}}`; the first value that fits counts.',
    )
    oidc_name: str = Field(
        "your organisation", min_length=1, max_length=60, description="Name of the issuer on the sign-in page."
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, value: str | None) -> str | None:
        if value is not None and (not is_safe_url(value) or "?" in value or "#" in value):
            raise ValueError("must be https, except on a loopback address, without a query")
        return value

    @field_validator("oidc_client_id")
    @classmethod
    def _is_given_with_issuer(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") is not None and not value:
            raise ValueError("must be set with OIDC_ISSUER")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _has_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must contain openid")
        return value

    @field_validator("oidc_clients")
    @classmethod
    def _are_clients(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("oidc_issuer") is not None:
            parse_clients(value.get_secret_value())
        return value

    @field_validator("portal_encryption_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value

    @field_validator("portal_url")
    @classmethod
    def _is_safe_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.path.strip("/") or parts.query:
            raise ValueError("must be an origin, without a path")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            # A cookie without `Secure` could be read on the way.
            raise ValueError("must be https, except on a loopback address")
        return value.rstrip("/")
