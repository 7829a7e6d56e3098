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
SCOPES = [
    *("orders:write", "returns:write", "status:read", "events:read", "webhooks:write"),
    *("orders:create", "orders:read", "codes:read", "stock:write"),
]


def write_documents(directory: Path, *, products: int = PRODUCTS) -> tuple[Path, Path]:
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
                        "scopes": SCOPES,
                    }
                ],
            }
        )
    )
    catalogue = directory / "catalogue.csv"
    with catalogue.open("w", encoding="utf-8") as file:
        file.write("site,productId,name\n")
        file.writelines(f"{SITE},product-{number:06d},Product {number}\n" for number in range(products) if number % 50)
    return tenants, catalogue


def build_order(
    number: int, generator: random.Random, *, faulty: bool = False, lines: int = 5, catalogue: int = PRODUCTS
) -> dict[str, object]:
    """Build an order; one of five lines has about 900 bytes of JSON."""
    products = [generator.randrange(catalogue) // 50 * 50 + generator.randrange(1, 50) for _ in range(lines)]
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


def build_bodies(
    count: int, *, size: int, faulty_share: float = 0.0, lines: int = 5, catalogue: int = PRODUCTS
) -> list[bytes]:
    """Build gzipped request bodies of `size` orders each."""
    generator = random.Random(7)

    def build(number: int) -> dict[str, object]:
        is_faulty = generator.random() < faulty_share
        return build_order(number, generator, faulty=is_faulty, lines=lines, catalogue=catalogue)

    return [
        gzip.compress(json.dumps([build(at * size + n) for n in range(size)]).encode(), 6, mtime=0)
        for at in range(count)
    ]
