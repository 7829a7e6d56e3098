"""The APIs for those who program with them: documents, requests, schemas, records."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.audit import AuditLog
from services.portal.domain.api_catalogue import API_ENTRIES, ApiEntry
from services.portal.domain.api_requests import ApiRequest, build_request, editable_parameters
from services.portal.domain.api_responses import ApiResponse
from services.portal.domain.openapi import VALIDATE_ONLY, ApiDocument, Operation
from services.portal.domain.session import Session
from services.portal.ports import ApiCaller, ApiDocuments, AuditTrail, ImportsApi, Registry
from services.values.time_uuids import is_uuid
from tillstream import NotAllowedError, TillstreamError
from tillstream.models import Limits

SENT = "request sent from the portal"
# The parameter of operations that show codes.
TRANSACTION = "transactionId"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that the pages for developers may touch. `base_url` is that of the public APIs."""

    documents: ApiDocuments
    caller: ApiCaller
    registry: Registry
    audit: AuditLog
    trail: AuditTrail
    base_url: str


@dataclass(frozen=True, slots=True)
class ApiSummary:
    """An API with its document; without it if the API does not answer."""

    entry: ApiEntry
    document: ApiDocument | None


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """The limits of imports, and of checks."""

    imports: Limits
    checks: Limits


async def list_apis(session: Session, deps: Deps) -> list[ApiSummary]:
    """Return the APIs that a client may want to look at."""
    entries = [entry for entry in API_ENTRIES.values() if may_see(entry, session)]
    documents = await asyncio.gather(*(_find_document(entry.name, deps) for entry in entries))
    return [ApiSummary(entry, document) for entry, document in zip(entries, documents, strict=True)]


async def _find_document(name: str, deps: Deps) -> ApiDocument | None:
    try:
        return await deps.documents.get(name)
    except UnavailableError:
        return None


def may_see(entry: ApiEntry, session: Session) -> bool:
    """Whether an API is of use to a client."""
    return session.is_operator or not entry.is_for_operators


async def get_limits(imports: ImportsApi) -> SiteLimits | None:
    """Return what the site may send and what is left; None if its client may not ask."""
    try:
        return SiteLimits(await imports.limits(), await imports.limits(validate_only=True))
    except NotAllowedError as error:
        if error.status == 401:
            raise
        return None
    except TillstreamError:
        return None


def may_send(document: ApiDocument, operation: Operation) -> bool:
    """Whether the page can send an operation: with the session's token, or one that needs none."""
    return not operation.takes_credentials and (operation.is_public or document.name != "auth")


def initial_values(operation: Operation, session: Session, given: Mapping[str, str]) -> dict[str, str]:
    """Return the values that a form begins with: those of the address, the client's API key, and a dry run."""
    values = {}
    for parameter in editable_parameters(operation):
        value = given.get(parameter.name, "")
        if not value and parameter.name == "apiKey":
            value = session.api_key
        if not value and parameter.name == VALIDATE_ONLY and operation.has_dry_run:
            value = "true"
        values[parameter.name] = value
    return values


def sample_request(operation: Operation, values: Mapping[str, str], body: str) -> tuple[ApiRequest, Mapping[str, str]]:
    """Return the request to copy: what is missing has its name in capitals, what is wrong is left out."""
    filled = dict(values)
    for parameter in editable_parameters(operation):
        if parameter.is_required and not filled.get(parameter.name):
            filled[parameter.name] = (parameter.choices or [_in_capitals(parameter.name)])[0]
    request = build_request(operation, filled, body)
    if isinstance(request, ApiRequest):
        return request, filled
    needed = {each.name for each in editable_parameters(operation) if each.is_required}
    plain = {name: _in_capitals(name) for name in needed}
    plain |= {
        each.name: each.choices[0] for each in editable_parameters(operation) if each.is_required and each.choices
    }
    request = build_request(operation, plain, "")
    if not isinstance(request, ApiRequest):
        raise TypeError(f"{operation.id} cannot be composed")
    return request, plain


def _in_capitals(name: str) -> str:
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)


async def send(
    document: ApiDocument,
    operation: Operation,
    request: ApiRequest,
    session: Session,
    *,
    values: Mapping[str, str],
    source: str,
    deps: Deps,
) -> ApiResponse | str:
    """Send the request of an operation with these values and return the response; or why there is none.

    The audit trail has it before: the response may hold codes. Raises `UnavailableError` if that is not possible.
    """
    details: dict[str, object] = {**session.audit_details, "operation": f"{document.name}.{operation.id}"}
    transaction = values.get(TRANSACTION, "")
    if is_uuid(transaction):
        details[TRANSACTION] = transaction
    await deps.trail.record(SENT, actor=session.client_id, source=source, **details)
    try:
        response = await deps.caller.call(document.name, request, session, has_token=not operation.is_public)
    except NotAllowedError as error:
        if error.status == 401:
            raise
        return f"Your client gets no token for this API: {error.detail}."
    except UnavailableError:
        return "The API does not answer. If the request changes something, look whether it was carried out."
    deps.audit.record(SENT, actor=session.client_id, source=source, **details, status=response.status)
    return response
