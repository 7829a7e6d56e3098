"""What the ledger knows of a user."""

from tillstream import AsyncClient, ItemPage
from tillstream.models import Entry

ORDERS_PER_PAGE = 25


async def list_orders(client: AsyncClient, user_id: str, *, page_token: str | None) -> ItemPage[Entry]:
    """Return a page of a user's orders with their returns, newest first."""
    return await client.ledger.user_orders_page(user_id, rows=ORDERS_PER_PAGE, page_token=page_token)
