"""What the services serve to anybody, from the files that they serve it from: documents, and the schemas' registry."""

from pathlib import Path

import httpx2

from services.chassis.avro.schemas import Schemas

SCHEMAS_DIR = Path(__file__).parents[2] / "schemas"
SCHEMAS = Schemas.load(SCHEMAS_DIR)


def answer_public(request: httpx2.Request) -> httpx2.Response:
    """Answer a request that needs no token."""
    match request.url.path.strip("/").split("/"):
        case [api, "openapi.yaml"]:
            path = SCHEMAS_DIR / "openapi" / f"{api}.yaml"
            return httpx2.Response(200, content=path.read_bytes(), headers={"Content-Type": "application/yaml"})
        case ["registry", "subjects", "orders.submitted.v1-value", "versions", *rest]:
            order = SCHEMAS["order"]
            latest = {"version": order.number, "id": order.schema_id, "schema": order.text}
            return httpx2.Response(200, json=latest if rest else list(range(1, order.number + 1)))
        case ["registry", "schemas", "ids", schema_id]:
            schema = SCHEMAS.by_id(int(schema_id))
            if schema is not None:
                return httpx2.Response(200, json={"schema": schema.text})
    return httpx2.Response(404, json={"error_code": 40403, "message": "not found"})
