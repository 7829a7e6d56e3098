"""The benchmark's tenant without an effective rate limit, and its orders."""

import gzip
import json
import random
from pathlib import Path

CLIENT = "bench0000000000"
SECRET = "not-a-secret-it-exists-in-a-benchmark-only"  # noqa: S105 - loaded into throw-away sandboxes only
SITE = 990
API_KEY = "bench"
PRODUCTS = 10_000


def write_documents(directory: Path) -> tuple[Path, Path]:
    """Write the tenants document and the catalogue, in which one product in fifty is missing."""
    tenants = directory / "tenants.json"
    tenants.write_text(
        json.dumps(
            {
                "sites": [
                    {
                        "site": SITE,
                        "name": "Benchmark",
                        "appId": 1,
                        "rootSource": "omnichannel-api/bench",
                        "datacenter": "bench",
                        "timeZone": "UTC",
                        "apiKeys": [{"apiKey": API_KEY, "channel": "bench"}],
                        "recordsPerSecond": 1_000_000,
                    }
                ],
                "clients": [
                    {
                        "clientId": CLIENT,
                        "secret": SECRET,
                        "site": SITE,
                        "apiKeys": [API_KEY],
                        "scopes": ["orders:write", "returns:write", "status:read", "events:read", "webhooks:write"],
                    }
                ],
            }
        )
    )
    catalogue = directory / "catalogue.csv"
    lines = [f"{SITE},product-{number:06d},Product {number}" for number in range(PRODUCTS) if number % 50]
    catalogue.write_text("\n".join(["site,productId,name", *lines]) + "\n")
    return tenants, catalogue


def build_order(number: int, generator: random.Random, *, faulty: bool = False) -> dict[str, object]:
    """Build an order of five lines, about 900 bytes of JSON."""
    products = [generator.randrange(PRODUCTS) // 50 * 50 + generator.randrange(1, 50) for _ in range(5)]
    if faulty:
        products[-1] = products[-1] // 50 * 50
    return {
        "id": str(100_000 + number),
        "channel": "6a700f55b7059e38",
        "userId": f"87d5f6ead7723d4703bce2a34d72e4a697dec82b5fbbcda755dde4a1e16b{number % 10_000:04d}",
        "dateTime": f"2022-04-25T12:{number // 60 % 60:02d}:{number % 60:02d}+09:00",
        "paymentMethod": "Credit card",
        "emailHash": f"{generator.getrandbits(256):064x}",
        "ccHash": f"{generator.getrandbits(256):064x}",
        "storeId": "Store123",
        "regionId": -1,
        "segmentIds": ["44", "55", "3"],
        "currency": "USD",
        "couponCode": "RR01",
        "couponValue": 23.76,
        "lineItems": [
            {"productId": f"product-{p:06d}", "skuId": f"sku-{p:06d}-L", "quantity": 10, "unitPrice": 256.678}
            for p in products
        ],
    }


def build_bodies(count: int, *, size: int, faulty_share: float = 0.0) -> list[bytes]:
    """Build gzipped request bodies of `size` orders each."""
    generator = random.Random(7)
    return [
        gzip.compress(
            json.dumps(
                [build_order(at * size + n, generator, faulty=generator.random() < faulty_share) for n in range(size)]
            ).encode(),
            6,
            mtime=0,
        )
        for at in range(count)
    ]
