"""The main navigation: a line for each section. Add a page's line here, and it appears for those who may see it."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.portal.domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry: where it leads, its picture's name in `icons.svg`, and the scopes of which its page needs one."""

    label: str
    path: str
    icon: str
    scopes: Sequence[str] = ()


ITEMS: Sequence[Item] = (
    Item(label="Home", path="/portal/", icon="home"),
    Item(label="Imports", path="/portal/jobs", icon="imports", scopes=("status:read",)),
    Item(label="Files", path="/portal/files", icon="files", scopes=("orders:write", "returns:write")),
    Item(label="Users", path="/portal/users", icon="users", scopes=("sales:read",)),
    Item(label="Reports", path="/portal/reports", icon="reports", scopes=("sales:read",)),
    Item(label="Codes", path="/portal/codes", icon="codes", scopes=("orders:read",)),
    Item(label="Events", path="/portal/events", icon="events", scopes=("events:read",)),
    Item(label="Developers", path="/portal/developers", icon="developers"),
    Item(label="Administration", path="/portal/operator", icon="operator", scopes=("admin",)),
)


def visible_items(session: Session) -> list[Item]:
    """Return the entries for a session."""
    return [item for item in ITEMS if not item.scopes or session.may(*item.scopes)]


def active_path(path: str) -> str:
    """Return the path of the entry that a page belongs to."""
    matching = [item.path for item in ITEMS if path == item.path or (path.startswith(f"{item.path.rstrip('/')}/"))]
    return max(matching, key=len, default="")
