"""The feed of events, and the endpoints that they are sent to."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from tillstream._sync.transport import Transport
from tillstream.encoding import encode_records
from tillstream.http import EVENTS, ItemPage, decode
from tillstream.models import Delivery, Endpoint, FeedEvent, FeedPage

_JSON = {"Content-Type": "application/json"}
MAX_SERVER_WAIT_S = 20


class _Endpoints(Struct):
    result: list[Endpoint]


class Events:
    """`client.events`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._path = f"/{quote(transport.credentials.api_key, safe='')}"

    def page(
        self,
        *,
        after: str | None = None,
        types: Sequence[str] = (),
        rows: int | None = None,
        wait_s: int = 0,
    ) -> FeedPage:
        """Return a page of the feed behind a cursor or an instant; without one, from the oldest event that is kept.

        With `wait_s` (at most 30) an empty page is returned only after that many seconds.
        """
        params = {"after": after, "types": ",".join(types) or None, "rows": rows}
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        response = self._transport.request(EVENTS, "GET", f"{self._path}/events", params=params, headers=headers)
        return decode(response.body, FeedPage)

    def tail(
        self, *, after: str | None = None, types: Sequence[str] = (), wait_s: int = MAX_SERVER_WAIT_S
    ) -> Iterator[tuple[FeedEvent, str]]:
        """Yield events as they happen, each with the cursor behind its page, for ever.

        With the cursor a later call continues: no event is missed, however long the pause was.
        """
        cursor = after
        while True:
            page = self.page(after=cursor, types=types, wait_s=wait_s)
            cursor = page.pagination.next_page_token
            for event in page.result:
                yield event, cursor

    def endpoints(self) -> Sequence[Endpoint]:
        """Return all endpoints of the site."""
        return (self._transport.get(EVENTS, f"{self._path}/endpoints", _Endpoints)).result

    def create_endpoint(
        self, url: str, *, types: Sequence[str] = (), description: str = "", ordered: bool = False
    ) -> Endpoint:
        """Send events to an address from now on; the secret of its signatures is in this answer only.

        It is not sent again if it may have been carried out: after `OutcomeUnknownError` or `UnavailableError` look at
        `endpoints`, and delete the one whose secret did not arrive.
        """
        fields = {"url": url, "types": list(types), "description": description, "ordered": ordered}
        return decode(self._send_once(f"{self._path}/endpoints", fields), Endpoint)

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint."""
        return self._transport.get(EVENTS, self._endpoint(endpoint_id), Endpoint)

    def change_endpoint(self, endpoint_id: str, **fields: Any) -> Endpoint:
        """Change an endpoint: `url`, `types`, `description`, `ordered`, `enabled`."""
        path, content = self._endpoint(endpoint_id), encode_records(fields)
        response = self._transport.request(EVENTS, "PATCH", path, content=content, headers=_JSON)
        return decode(response.body, Endpoint)

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Delete an endpoint. Raises `NotFoundError` if there was none."""
        self._transport.request(EVENTS, "DELETE", self._endpoint(endpoint_id), done_status=404)

    def rotate_secret(self, endpoint_id: str) -> Endpoint:
        """Give an endpoint another secret, which is in this answer only; the old one signs for a while, too.

        It is not sent again if it may have been carried out: after `OutcomeUnknownError` or `UnavailableError` the
        endpoint may have a secret that nobody knows. Rotate once more then.
        """
        return decode(self._send_once(f"{self._endpoint(endpoint_id)}/rotate", {}), Endpoint)

    def deliveries(self, endpoint_id: str, *, rows: int | None = None) -> Iterator[Delivery]:
        """Yield what was sent to an endpoint, and what came back, newest first."""
        path = f"{self._endpoint(endpoint_id)}/deliveries"
        for delivery in self._transport.pages(EVENTS, path, Delivery, rows=rows):
            yield delivery

    def deliveries_page(
        self, endpoint_id: str, *, rows: int | None = None, page_token: str | None = None
    ) -> ItemPage[Delivery]:
        """Return one page of the deliveries, for those who page themselves."""
        path = f"{self._endpoint(endpoint_id)}/deliveries"
        return self._transport.page(EVENTS, path, Delivery, page_token=page_token, rows=rows)

    def replay(
        self,
        endpoint_id: str,
        *,
        since: datetime | None = None,
        failed_since: datetime | None = None,
        event_id: str | None = None,
    ) -> Mapping[str, Any]:
        """Send events again: all since an instant, those that failed since, or one.

        It is not sent again if it may have been carried out: after `OutcomeUnknownError` or `UnavailableError` a replay
        may be running, as `deliveries` show.
        """
        bounds = {"since": since, "failedSince": failed_since, "eventId": event_id}
        fields = {name: value for name, value in bounds.items() if value is not None}
        body = self._send_once(f"{self._endpoint(endpoint_id)}/replay", fields)
        return decode(body, dict[str, Any])

    def replay_state(self, endpoint_id: str, replay_id: str) -> Mapping[str, Any]:
        """Return how far a replay is."""
        return self._transport.get(EVENTS, self._replay(endpoint_id, replay_id), dict[str, Any])

    def stop_replay(self, endpoint_id: str, replay_id: str) -> Mapping[str, Any]:
        """Stop a replay."""
        response = self._transport.request(EVENTS, "DELETE", self._replay(endpoint_id, replay_id))
        return decode(response.body, dict[str, Any])

    def keys(self) -> Mapping[str, Any]:
        """Return the public keys of the signatures `v1a`."""
        return self._transport.get(EVENTS, "/keys", dict[str, Any])

    def _send_once(self, path: str, fields: Mapping[str, Any]) -> bytes:
        # The API keeps no keys: what is sent twice is done twice.
        content = encode_records(fields)
        response = self._transport.request(EVENTS, "POST", path, content=content, headers=_JSON, is_repeatable=False)
        return response.body

    def _endpoint(self, endpoint_id: str) -> str:
        return f"{self._path}/endpoints/{quote(endpoint_id, safe='')}"

    def _replay(self, endpoint_id: str, replay_id: str) -> str:
        return f"{self._endpoint(endpoint_id)}/replays/{quote(replay_id, safe='')}"
