"""The OpenAPI documents, as each service serves its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import yaml

from services.chassis.runtime.errors import UnavailableError
from services.portal.domain.api_catalogue import API_ENTRIES
from services.portal.domain.openapi import ApiDocument, parse_document

# They change with a release only.
KEPT_S = 300.0
MAX_BYTES = 1024 * 1024
# The one in C is ten times as fast, and is missing where PyYAML was built without libyaml.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HttpApiDocuments:
    """Fetches documents and keeps them for a while."""

    def __init__(self, connect: Callable[..., httpx2.AsyncClient], *, clock_s: Callable[[], float]) -> None:
        """`connect` returns the connections to a server of APIs."""
        self._connect = connect
        self._clock_s = clock_s
        self._kept: dict[str, tuple[float, ApiDocument]] = {}

    async def get(self, name: str) -> ApiDocument:
        """Return a document. Raises `UnavailableError`."""
        kept = self._kept.get(name)
        if kept is not None and self._clock_s() - kept[0] < KEPT_S:
            return kept[1]
        entry = API_ENTRIES[name]
        http = self._connect(entry.server)
        try:
            response = await http.get(entry.document_path)
        except httpx2.TransportError as error:
            raise UnavailableError(f"the {name} API") from error
        if response.status_code != 200 or len(response.content) > MAX_BYTES:
            raise UnavailableError(f"the {name} API")
        document = await asyncio.to_thread(_parse, name, response.content)
        self._kept[name] = (self._clock_s(), document)
        return document


def _parse(name: str, content: bytes) -> ApiDocument:
    try:
        # A subclass of SafeLoader: it makes plain values only.
        return parse_document(name, yaml.load(content, Loader=_Loader))  # noqa: S506 - see above
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnavailableError(f"the document of the {name} API") from error
