"""Settings of the fulfilment service and of its commands."""

from datetime import timedelta

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.chassis.runtime.settings import (
    ApiSettings,
    DeadLetterLimitSettings,
    EnvironmentSettings,
    ServiceSettings,
)
from services.chassis.runtime.smtp import parse_smtp_url
from services.chassis.security.backing_services import BackingServicesSettings
from services.chassis.security.keyed_cipher import KEY_BYTES, parse_keys
from services.fulfilment.domain.invoice import Issuer
from services.values.identifiers import validate_text

# What an invoice has room for.
MAX_BLOCK_LENGTH, MAX_BLOCK_LINES = 512, 8


class CodeCipherSettings(EnvironmentSettings):
    """Keys of the stored codes."""

    code_encryption_keys: SecretStr = Field(
        description="Keys that encrypt codes, 32 bytes each in base64, comma-separated; the first one encrypts."
    )
    code_digest_key: SecretStr = Field(
        description="Key of the fingerprints by which equal codes are recognised, 32 bytes in base64; never changes."
    )

    @field_validator("code_encryption_keys", "code_digest_key")
    @classmethod
    def _are_keys(cls, value: SecretStr) -> SecretStr:
        parse_keys(value.get_secret_value())
        return value

    @property
    def encryption_keys(self) -> list[bytes]:
        """The encryption keys."""
        return parse_keys(self.code_encryption_keys.get_secret_value())

    @property
    def digest_key(self) -> bytes:
        """The key of the fingerprints."""
        return parse_keys(self.code_digest_key.get_secret_value())[0][:KEY_BYTES]


class SupplierSettings(EnvironmentSettings):
    """Available suppliers."""

    simulated_supplier: bool = Field(
        default=False,
        description="Whether products may have the simulated supplier, which invents codes;"
        " must be the same for the service and for the commands that put products.",
    )


class InvoiceSettings(EnvironmentSettings):
    """The issuer of invoices, as printed on them. A change applies to documents issued from then on."""

    invoice_issuer: str = Field("Tillstream", min_length=1, max_length=128, description="Name of the issuer.")
    invoice_issuer_address: str | None = Field(
        None,
        max_length=MAX_BLOCK_LENGTH,
        description="Address of the issuer; lines are separated by line breaks or `\\n`.",
    )
    invoice_issuer_tax_id: str | None = Field(
        None, max_length=128, description="Tax id of the issuer, such as a VAT number."
    )
    invoice_bank: str | None = Field(
        None,
        max_length=MAX_BLOCK_LENGTH,
        description="Bank details for payments; lines are separated by line breaks or `\\n`.",
    )
    invoice_terms: str | None = Field(
        None, max_length=MAX_BLOCK_LENGTH, description="Terms of payment, such as `Payable within 14 days`."
    )

    @field_validator(
        "invoice_issuer", "invoice_issuer_tax_id", "invoice_issuer_address", "invoice_bank", "invoice_terms"
    )
    @classmethod
    def _is_printable(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.field_name == "invoice_issuer" and not value.strip():
            raise ValueError("must not be blank")
        is_block = info.field_name not in ("invoice_issuer", "invoice_issuer_tax_id")
        lines = value.replace("\\n", "\n").splitlines() if is_block else [value]
        if any(validate_text(line, max_length=MAX_BLOCK_LENGTH) for line in lines):
            raise ValueError("must not contain control characters")
        if len(lines) > MAX_BLOCK_LINES:
            raise ValueError(f"must not have more than {MAX_BLOCK_LINES} lines")
        return "\n".join(line.strip() for line in lines).strip() or None

    @property
    def issuer(self) -> Issuer:
        """The issuer as configured now."""
        return Issuer(
            name=self.invoice_issuer,
            address=self.invoice_issuer_address,
            tax_id=self.invoice_issuer_tax_id,
            bank=self.invoice_bank,
            terms=self.invoice_terms,
        )


class Settings(
    ServiceSettings,
    ApiSettings,
    BackingServicesSettings,
    DeadLetterLimitSettings,
    CodeCipherSettings,
    SupplierSettings,
    InvoiceSettings,
):
    """Settings of the fulfilment service."""

    fulfilment_deadline: timedelta = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="Maximum time that a unit waits for its code (ISO 8601 or seconds).",
    )
    fulfilment_reads_per_second: int = Field(10, ge=1, description="GET requests a client may send in any second.")
    fulfilment_orders_per_second: int = Field(10, ge=1, description="Orders a client may send in any second.")
    fulfilment_concurrency: int = Field(
        32, ge=1, le=1_000, description="Maximum number of transactions fulfilled at the same time."
    )
    fulfilment_sweep_interval_s: float = Field(0.5, gt=0, description="Pause between searches for due transactions.")
    closing_interval_s: float = Field(5.0, gt=0, description="Pause between searches for ended days.")
    closing_grace_s: float = Field(
        2.0, ge=0, description="Time after midnight in which orders in progress can still join their day."
    )
    body_timeout_s: float = Field(10.0, gt=0, description="Maximum time a client may take to send a body.")
    page_token_key: SecretStr = Field(
        SecretStr("tillstream-page-tokens"),
        min_length=16,
        description="Signs page tokens; the same in all replicas and at every start. Tokens hold positions only.",
    )
    invoice_font: str | None = Field(
        None,
        description="TrueType font of PDF invoices; without it, characters beyond Western Europe's are transliterated.",
    )
    smtp_url: SecretStr | None = Field(
        None, description="Mail server, `smtp://user:password@host:port` or `smtps://…`; without it, mails are kept."
    )
    mail_from: str = Field("invoices@tillstream.example", description="Sender address of invoice mails.")

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_smtp_url(value.get_secret_value())
        return value
