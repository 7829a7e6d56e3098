"""Products in MongoDB."""

from collections.abc import Iterable, Mapping, Sequence

from services.chassis.mongodb.client import Mongo, fetch_all, mongo_errors
from services.fulfilment.adapters.batcher import Batcher
from services.fulfilment.domain.product import Product
from services.fulfilment.ports import ProductStore
from services.fulfilment.wire import documents

PRODUCTS = "products"


class MongoProductStore(ProductStore):
    """Stores products by SKU."""

    def __init__(self, mongo: Mongo) -> None:
        self._products = documents.with_decimals(mongo.collection(PRODUCTS))
        self._lookups = Batcher(self._find_batch, size=len)

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        return await self._lookups.submit(tuple(skus))

    async def _find_batch(self, lookups: Sequence[tuple[str, ...]]) -> Sequence[Mapping[str, Product]]:
        wanted = {sku for skus in lookups for sku in skus}
        found = await fetch_all(self._products.find({"_id": {"$in": list(wanted)}}))
        products = {document["_id"]: documents.product_from_document(document) for document in found}
        return [{sku: products[sku] for sku in skus if sku in products} for skus in lookups]

    async def list_all(self) -> Sequence[Product]:
        """Return every product by SKU."""
        found = await fetch_all(self._products.find().sort("_id", 1))
        return [documents.product_from_document(document) for document in found]

    async def put(self, product: Product) -> bool:
        document = documents.product_document(product)
        with mongo_errors():
            result = await self._products.replace_one({"_id": document["_id"]}, document, upsert=True)
        return not result.matched_count
