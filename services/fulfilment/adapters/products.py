"""Products in MongoDB."""

from collections.abc import Iterable, Mapping, Sequence

from services.chassis.mongodb.client import Mongo, mongo_errors
from services.fulfilment.domain.product import Product
from services.fulfilment.ports import ProductStore
from services.fulfilment.wire import documents

PRODUCTS = "products"


class MongoProductStore(ProductStore):
    """Stores products by SKU."""

    def __init__(self, mongo: Mongo) -> None:
        self._products = documents.with_decimals(mongo.collection(PRODUCTS))

    async def find(self, skus: Iterable[str]) -> Mapping[str, Product]:
        with mongo_errors():
            found = await self._products.find({"_id": {"$in": list(skus)}}).to_list(None)
        return {document["_id"]: documents.product_from_document(document) for document in found}

    async def list_all(self) -> Sequence[Product]:
        """Return every product by SKU."""
        with mongo_errors():
            found = await self._products.find().sort("_id", 1).to_list(None)
        return [documents.product_from_document(document) for document in found]

    async def put(self, product: Product) -> bool:
        document = documents.product_document(product)
        with mongo_errors():
            result = await self._products.replace_one({"_id": document["_id"]}, document, upsert=True)
        return not result.matched_count
