"""The main navigation: a line for each section. Add a page's line here, and it appears for those who may see it."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.portal.domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry: where it leads, the name of its picture in `icons.svg`, and the scope that its page needs."""

    label: str
    path: str
    icon: str
    scope: str | None = None


ITEMS: Sequence[Item] = (
    Item(label="Home", path="/portal/", icon="home"),
    Item(label="Imports", path="/portal/jobs", icon="imports", scope="status:read"),
    Item(label="Files", path="/portal/files", icon="files", scope="orders:write"),
    Item(label="Users", path="/portal/users", icon="users", scope="sales:read"),
    Item(label="Reports", path="/portal/reports", icon="reports", scope="sales:read"),
    Item(label="Codes", path="/portal/codes", icon="codes", scope="orders:read"),
    Item(label="Events", path="/portal/events", icon="events", scope="events:read"),
    Item(label="Developers", path="/portal/developers", icon="developers"),
    Item(label="Administration", path="/portal/operator", icon="operator", scope="admin"),
)


def visible_items(session: Session) -> list[Item]:
    """Return the entries for a session."""
    return [item for item in ITEMS if item.scope is None or session.may(item.scope)]


def active_path(path: str) -> str:
    """Return the path of the entry that a page belongs to."""
    matching = [item.path for item in ITEMS if path == item.path or (path.startswith(f"{item.path.rstrip('/')}/"))]
    return max(matching, key=len, default="")
