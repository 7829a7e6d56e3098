"""Requests to copy: for curl, and for the Python library. Tokens and secrets in them are placeholders."""

import json
import re
import shlex
from collections.abc import Mapping

from services.portal.domain.api_requests import ApiRequest

TOKEN = "$ACCESS_TOKEN"  # noqa: S105 - a placeholder
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_QUOTES = '"""'
_IMPORTS = "import json\nfrom decimal import Decimal\n\n"
# By document and operation; `{name}` is a parameter's value as a Python literal, `body` the request's.
CALLS: Mapping[tuple[str, str], str] = {
    ("omnichannel", "importOrders"): "client.imports.send(body)",
    ("omnichannel", "importReturns"): 'client.imports.send(body, kind="returns")',
    ("omnichannel", "readLimits"): "client.imports.limits()",
    ("common-status", "readSummary"): "client.jobs.get({jobId})",
    ("common-status", "readRecords"): "list(client.jobs.records({jobId}))",
    ("common-status", "readEvents"): "list(client.jobs.events({jobId}))",
    ("common-status", "listJobs"): "list(client.jobs.list())",
    ("fulfilment", "createOrder"): (
        'client.orders.place({each["sku"]: each["quantity"] for each in body["products"]}, '
        'client_order_number=body.get("clientOrderNumber"))'
    ),
    ("fulfilment", "listOrders"): "list(client.orders.list())",
    ("fulfilment", "readOrder"): "client.orders.get({transactionId})",
    ("fulfilment", "getCodes"): "client.orders.codes({transactionId})",
    ("fulfilment", "listPurchaseOrders"): "client.orders.purchase_orders()",
    ("fulfilment", "readPurchaseOrder"): "client.orders.purchase_order({id})",
    ("fulfilment", "listInvoices"): "list(client.invoices.list())",
    ("fulfilment", "readInvoice"): "client.invoices.get({id})",
    ("ledger", "listUserOrders"): "list(client.ledger.user_orders({userId}))",
    ("ledger", "readOrder"): "client.ledger.order({orderId})",
    ("ledger", "eraseUser"): "client.ledger.erase_user({userId})",
    ("ledger", "readReceipt"): "client.ledger.erasure({receiptId})",
    ("events", "readFeed"): "client.events.page()",
    ("events", "createEndpoint"): 'client.events.create_endpoint(body["url"], types=body.get("types", []))',
    ("events", "listEndpoints"): "client.events.endpoints()",
    ("events", "readEndpoint"): "client.events.endpoint({endpointId})",
    ("events", "changeEndpoint"): "client.events.change_endpoint({endpointId}, **body)",
    ("events", "deleteEndpoint"): "client.events.delete_endpoint({endpointId})",
    ("events", "rotateSecret"): "client.events.rotate_secret({endpointId})",
    ("events", "listDeliveries"): "list(client.events.deliveries({endpointId}))",
    ("events", "readReplay"): "client.events.replay_state({endpointId}, {replayId})",
    ("events", "stopReplay"): "client.events.stop_replay({endpointId}, {replayId})",
    ("events", "readKeys"): "client.events.keys()",
}
# With `validateOnly`.
DRY_RUNS: Mapping[tuple[str, str], str] = {
    ("omnichannel", "importOrders"): "client.imports.validate(body)",
    ("omnichannel", "importReturns"): 'client.imports.validate(body, kind="returns")',
}


def make_curl(base_url: str, request: ApiRequest, *, has_token: bool) -> str:
    """Return a command for a shell."""
    lines = [f"curl -i -X {request.method} {shlex.quote(base_url + request.path)}"]
    if has_token:
        lines.append(f'-H "Authorization: Bearer {TOKEN}"')
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in request.headers.items()]
    if request.body is not None:
        lines += ["-H 'Content-Type: application/json'", f"--data-raw {shlex.quote(request.body)}"]
    return " \\\n  ".join(lines)


def make_python(
    document: str, operation_id: str, base_url: str, request: ApiRequest, values: Mapping[str, str], *, is_dry_run: bool
) -> str | None:
    """Return a program; None if the library has no method for this."""
    key = (document, operation_id)
    call = DRY_RUNS.get(key) if is_dry_run else CALLS.get(key)
    if call is None:
        return None
    # In one pass: a value may look like the name of another parameter.
    call = _PLACEHOLDER.sub(lambda found: json.dumps(values.get(found[1]) or found[1], ensure_ascii=False), call)
    uses_body = "body" in call
    body = _python_body(request.body) if uses_body else ""
    head = _IMPORTS if uses_body else ""
    api_key = values.get("apiKey") or "API_KEY"
    client = f"Client({json.dumps(base_url)}, CLIENT_ID, CLIENT_SECRET, {json.dumps(api_key, ensure_ascii=False)})"
    return f"{head}from tillstream import Client\n\n{body}with {client} as client:\n    print({call})\n"


def _python_body(body: str | None) -> str:
    """Return the body as a literal that no text can break out of; as it is, where that is possible."""
    text = (body or "{}").replace("\r\n", "\n").strip()
    is_plain = "\\" not in text and _QUOTES not in text
    literal = f"{_QUOTES}\n{text}\n{_QUOTES}" if is_plain else json.dumps(text, ensure_ascii=False)
    return f"body = json.loads({literal}, parse_float=Decimal)\n\n"
