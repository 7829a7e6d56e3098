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
    "importOrders": "imports.send",
    "importReturns": "imports.send",
    "importOrder": "imports.send_one",
    "importReturn": "imports.send_one",
    "readLimits": "imports.limits",
    "readEvents": "jobs.events",
    "readSummary": "jobs.get",
    "readRecords": "jobs.records",
    "listJobs": "jobs.list",
    "createOrder": "orders.place",
    "listOrders": "orders.list",
    "readOrder": "orders.get",
    "getCodes": "orders.codes",
    "listPurchaseOrders": "orders.purchase_orders",
    "readPurchaseOrder": "orders.purchase_order",
    "listInvoices": "invoices.list",
    "readInvoice": "invoices.get",
    "loadCodes": "orders.load_codes",
    "putProduct": "orders.put_product",
}
LEFT_OUT = {
    "auth-admin": "for operators, on an internal port",
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
    resource, _, method = METHODS[operation].partition(".")
    for client in (Client("http://x", "c", "s", "k"), AsyncClient("http://x", "c", "s", "k")):
        assert callable(getattr(getattr(client, resource), method))


def test_no_method_is_listed_for_nothing() -> None:
    assert set(METHODS) <= {operation for _, operation in operations()}


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
