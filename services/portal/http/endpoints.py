"""Endpoints: where events are sent to, what became of them there, and sending them again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from services.chassis.runtime.time_zones import load_time_zone
from services.portal.domain.events import TYPES, EndpointView, describe_endpoint
from services.portal.flows import events as flow
from services.portal.http.events import BACK, BASE, CHANGE_SCOPE, SCOPE
from services.portal.http.outcomes import as_sentence, once, sentence_of
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from tillstream import ApiError, ConflictError, InvalidRequestError, NotFoundError

ENDPOINTS = BASE + "/endpoints"
_NEW: Mapping[str, Any] = {"url": "", "description": "", "ordered": False, "types": ()}


class EndpointPages:
    """The pages of endpoints."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        one, pages = ENDPOINTS + "/{endpoint}", self._pages
        return [
            pages.get(ENDPOINTS + "/new", self.new, scope=CHANGE_SCOPE),
            pages.post(ENDPOINTS, self.create, scope=CHANGE_SCOPE),
            pages.get(one, self.show, scope=SCOPE),
            pages.get(one + "/change", self.change_form, scope=CHANGE_SCOPE),
            pages.post(one + "/change", self.change, scope=CHANGE_SCOPE),
            pages.post(one + "/enabled", self.enable, scope=CHANGE_SCOPE),
            pages.get(one + "/rotate", self.rotate_form, scope=CHANGE_SCOPE),
            pages.post(one + "/rotate", self.rotate, scope=CHANGE_SCOPE),
            pages.get(one + "/delete", self.delete_form, scope=CHANGE_SCOPE),
            pages.post(one + "/delete", self.delete, scope=CHANGE_SCOPE),
            pages.post(one + "/replay", self.replay, scope=CHANGE_SCOPE),
            pages.post(one + "/replays/{replay}/stop", self.stop_replay, scope=CHANGE_SCOPE),
        ]

    async def new(self, visit: Visit) -> web.StreamResponse:
        """A form for a new endpoint."""
        return self._form(visit, _NEW)

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Add an endpoint, and show its secret: this once."""
        fields = _read_fields(visit.form)
        try:
            endpoint = await once(
                visit.client.events.create_endpoint(**fields), "look whether the endpoint is in the list", back=BACK
            )
        except (InvalidRequestError, ConflictError) as error:
            return self._form(visit, fields, problems=_problems(error))
        return self._secret(visit, describe_endpoint(endpoint), endpoint.secret, is_new=True)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One endpoint, with its deliveries."""
        endpoint = await _find(visit)
        token, replay = visit.query.get("page"), visit.query.get("replay")
        try:
            deliveries = await flow.list_deliveries(visit.client.events, endpoint.id, page_token=token)
        except InvalidRequestError as error:
            raise PageError(
                400, "This page of the list is gone", "Begin at the first one.", back=_back(endpoint)
            ) from error
        address = f"{ENDPOINTS}/{endpoint.id}"
        next_token = deliveries.next_page_token
        return self._pages.page(
            visit,
            "endpoint.html",
            endpoint=endpoint,
            deliveries=deliveries.deliveries,
            replay=await self._find_replay(visit, endpoint.id, replay) if replay else None,
            address=address,
            back=BACK,
            first_url=address,
            next_url=None if next_token is None else f"{address}?{urlencode({'page': next_token})}",
            is_first=token is None,
            names=TYPES,
            may_change=visit.session.may(CHANGE_SCOPE),
            problem=visit.query.get("problem", ""),
        )

    @staticmethod
    async def _find_replay(visit: Visit, endpoint_id: str, replay: str) -> Mapping[str, Any] | None:
        try:
            return await visit.client.events.replay_state(endpoint_id, replay)
        except NotFoundError:
            return None

    async def change_form(self, visit: Visit) -> web.StreamResponse:
        """A form for the endpoint's fields."""
        endpoint = await _find(visit)
        fields = {
            "url": endpoint.url,
            "description": endpoint.description,
            "ordered": endpoint.is_ordered,
            "types": endpoint.types,
        }
        return self._form(visit, fields, endpoint)

    async def change(self, visit: Visit) -> web.StreamResponse:
        """Change the endpoint's fields."""
        endpoint, fields = await _find(visit), _read_fields(visit.form)
        try:
            await visit.client.events.change_endpoint(endpoint.id, **fields)
        except (InvalidRequestError, ConflictError) as error:
            return self._form(visit, fields, endpoint, problems=_problems(error))
        raise web.HTTPSeeOther(f"{ENDPOINTS}/{endpoint.id}")

    async def enable(self, visit: Visit) -> web.StreamResponse:
        """Enable or disable the endpoint."""
        endpoint = await _find(visit)
        await visit.client.events.change_endpoint(endpoint.id, enabled=visit.form.get("enabled") == "true")
        raise web.HTTPSeeOther(f"{ENDPOINTS}/{endpoint.id}")

    async def rotate_form(self, visit: Visit) -> web.StreamResponse:
        """Ask whether a new secret is wanted."""
        endpoint = await _find(visit)
        return self._confirm(
            visit,
            endpoint,
            action="rotate",
            title="Give it a new secret?",
            text="The new secret is shown once. Requests are signed with the old one, too, for another 24 hours.",
            button="New secret",
        )

    async def rotate(self, visit: Visit) -> web.StreamResponse:
        """Give the endpoint a new secret, and show it: this once."""
        endpoint = await _find(visit)
        try:
            changed = await once(
                visit.client.events.rotate_secret(endpoint.id), "ask for another secret if none is shown", back=BACK
            )
        except ConflictError as error:
            raise PageError(409, "No further secret", sentence_of(error), back=_back(endpoint)) from error
        return self._secret(visit, endpoint, changed.secret, is_new=False)

    async def delete_form(self, visit: Visit) -> web.StreamResponse:
        """Ask whether the endpoint is to be deleted."""
        endpoint = await _find(visit)
        return self._confirm(
            visit,
            endpoint,
            action="delete",
            title="Delete this endpoint?",
            text="It gets no further events, and what was sent to it can no longer be looked up.",
            button="Delete the endpoint",
        )

    async def delete(self, visit: Visit) -> web.StreamResponse:
        """Delete the endpoint."""
        endpoint = await _find(visit)
        await visit.client.events.delete_endpoint(endpoint.id)
        raise web.HTTPSeeOther(BASE)

    async def replay(self, visit: Visit) -> web.StreamResponse:
        """Send events of the past again."""
        endpoint, form = await _find(visit), visit.form
        if event_id := form.get("event", ""):
            bounds: dict[str, Any] = {"event_id": event_id}
        else:
            since = _parse_instant(form.get("since", ""), visit.session.grant.time_zone)
            if since is None:
                detail = "Enter the day and the time from which on events are to be sent again."
                raise PageError(400, "From when on?", detail, back=_back(endpoint))
            bounds = {"failed_since" if form.get("which") == "failed" else "since": since}
        try:
            replay = await once(visit.client.events.replay(endpoint.id, **bounds), "look at the deliveries", back=BACK)
        except (ConflictError, InvalidRequestError) as error:
            raise PageError(
                error.status, "It cannot be sent again now", sentence_of(error), back=_back(endpoint)
            ) from error
        raise web.HTTPSeeOther(f"{ENDPOINTS}/{endpoint.id}?{urlencode({'replay': replay['id']})}")

    async def stop_replay(self, visit: Visit) -> web.StreamResponse:
        """Stop a replay."""
        endpoint, replay = await _find(visit), visit.request.match_info["replay"]
        await visit.client.events.stop_replay(endpoint.id, replay)
        raise web.HTTPSeeOther(f"{ENDPOINTS}/{endpoint.id}?{urlencode({'replay': replay})}")

    def _form(
        self,
        visit: Visit,
        fields: Mapping[str, Any],
        endpoint: EndpointView | None = None,
        *,
        problems: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        return self._pages.page(
            visit,
            "endpoint_form.html",
            status=400 if problems else 200,
            fields=fields,
            types=TYPES,
            endpoint=endpoint,
            action=ENDPOINTS if endpoint is None else f"{ENDPOINTS}/{endpoint.id}/change",
            back=BACK if endpoint is None else _back(endpoint),
            problems=problems or {},
        )

    def _confirm(self, visit: Visit, endpoint: EndpointView, **texts: Any) -> web.StreamResponse:
        address = f"{ENDPOINTS}/{endpoint.id}"
        return self._pages.page(visit, "endpoint_confirm.html", endpoint=endpoint, address=address, **texts)

    def _secret(self, visit: Visit, endpoint: EndpointView, secret: str | None, *, is_new: bool) -> web.StreamResponse:
        address = f"{ENDPOINTS}/{endpoint.id}"
        return self._pages.page(
            visit, "endpoint_secret.html", endpoint=endpoint, secret=secret or "", is_new=is_new, address=address
        )


async def _find(visit: Visit) -> EndpointView:
    try:
        return describe_endpoint(await visit.client.events.endpoint(visit.request.match_info["endpoint"]))
    except NotFoundError:
        raise not_found("endpoint", back=BACK) from None


def _back(endpoint: EndpointView) -> tuple[str, str]:
    return "The endpoint", f"{ENDPOINTS}/{endpoint.id}"


def _read_fields(form: Mapping[str, str]) -> dict[str, Any]:
    types = [type_ for type_ in TYPES if f"type.{type_}" in form]
    return {
        "url": form.get("url", "").strip(),
        "description": form.get("description", "").strip(),
        "ordered": "ordered" in form,
        # All of them is what none of them means, also of types to come.
        "types": [] if len(types) == len(TYPES) else types,
    }


def _problems(error: ApiError) -> dict[str, str]:
    """Return what is wrong by field; under an empty name what belongs to none."""
    by_field = {fault.pointer.removeprefix("/").split("/")[0]: as_sentence(fault.detail) for fault in error.faults}
    return by_field or {"": sentence_of(error)}


def _parse_instant(text: str, zone: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=load_time_zone(zone))
