"""The operations of the OpenAPI documents, each with the method that calls it, or the reason why none does."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import tillstream
from tillstream._async.client import AsyncClient
from tillstream._sync.client import Client

HERE = Path(__file__).parent
DOCUMENTS = HERE.parents[2] / "schemas" / "openapi"
METHODS = {
    ("omnichannel", "importOrders"): "imports.send",
    ("omnichannel", "importReturns"): "imports.send",
    ("omnichannel", "importOrder"): "imports.send_one",
    ("omnichannel", "importReturn"): "imports.send_one",
    ("omnichannel", "readLimits"): "imports.limits",
    ("common-status", "readEvents"): "jobs.events",
    ("common-status", "readSummary"): "jobs.get",
    ("common-status", "readRecords"): "jobs.records",
    ("common-status", "listJobs"): "jobs.list",
    ("fulfilment", "createOrder"): "orders.place",
    ("fulfilment", "listOrders"): "orders.list",
    ("fulfilment", "readOrder"): "orders.get",
    ("fulfilment", "getCodes"): "orders.codes",
    ("fulfilment", "listPurchaseOrders"): "orders.purchase_orders",
    ("fulfilment", "readPurchaseOrder"): "orders.purchase_order",
    ("fulfilment", "listInvoices"): "invoices.list",
    ("fulfilment", "readInvoice"): "invoices.get",
    ("fulfilment", "loadCodes"): "orders.load_codes",
    ("fulfilment", "putProduct"): "orders.put_product",
    ("ledger", "listUserOrders"): "ledger.user_orders",
    ("ledger", "readOrder"): "ledger.order",
    ("ledger", "reportSales"): "ledger.report",
    ("ledger", "exportOrders"): "ledger.export",
    ("ledger", "eraseUser"): "ledger.erase_user",
    ("ledger", "readReceipt"): "ledger.erasure",
    ("events", "readFeed"): "events.page",
    ("events", "createEndpoint"): "events.create_endpoint",
    ("events", "listEndpoints"): "events.endpoints",
    ("events", "readEndpoint"): "events.endpoint",
    ("events", "changeEndpoint"): "events.change_endpoint",
    ("events", "deleteEndpoint"): "events.delete_endpoint",
    ("events", "rotateSecret"): "events.rotate_secret",
    ("events", "listDeliveries"): "events.deliveries",
    ("events", "replayEvents"): "events.replay",
    ("events", "readReplay"): "events.replay_state",
    ("events", "stopReplay"): "events.stop_replay",
    ("events", "readKeys"): "events.keys",
}
LEFT_OUT = {
    "auth-admin": "for operators, on an internal port",
    "operator": "for operators, inside the cluster only",
    "auth": "the transport fetches tokens; revoking and inspecting them is for operators",
}


def operations() -> list[tuple[str, str]]:
    """Return document and operation of everything but the documents themselves."""
    found = []
    for path in sorted(DOCUMENTS.glob("*.yaml")):
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        for route, item in document["paths"].items():
            if not route.endswith("openapi.yaml"):
                found += [(path.stem, one["operationId"]) for one in item.values() if "operationId" in one]
    return found


@pytest.mark.parametrize(("document", "operation"), operations())
def test_every_operation_has_a_method_or_a_reason(document: str, operation: str) -> None:
    if document in LEFT_OUT:
        return
    resource, _, method = METHODS[document, operation].partition(".")
    for client in (Client("http://x", "c", "s", "k"), AsyncClient("http://x", "c", "s", "k")):
        assert callable(getattr(getattr(client, resource), method))


def test_no_method_is_listed_for_nothing() -> None:
    assert set(METHODS) <= set(operations())


def test_the_synchronous_client_is_generated_from_the_asynchronous_one() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE.parent / "generate_sync.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_knows_nothing_of_the_services() -> None:
    for path in (HERE.parent / "tillstream").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (services|sandbox|tests)\b", path.read_text(), re.MULTILINE), path


def test_the_versions_agree() -> None:
    project = (HERE.parent / "pyproject.toml").read_text()
    assert f'version = "{tillstream.__version__}"' in project


def test_the_licence_is_that_of_the_whole() -> None:
    assert (HERE.parent / "LICENSE").read_bytes() == (HERE.parents[2] / "LICENSE").read_bytes()
