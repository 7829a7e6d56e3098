"""Imports of orders and returns."""

import gzip
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tillstream._async.runtime import async_steps
from tillstream._async.transport import AsyncTransport
from tillstream.encoding import encode_records
from tillstream.files import FileImport, FileOptions
from tillstream.http import IMPORT, decode
from tillstream.importer import ImportOptions, Progress
from tillstream.models import Accepted, Kind, Limits, Mode, Validated

_JSON = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
Record = Mapping[str, Any]


class AsyncImports:
    """`client.imports`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._path = f"/{quote(transport.credentials.api_key, safe='')}"

    async def send(
        self,
        records: Sequence[Record],
        *,
        kind: Kind = "orders",
        mode: Mode | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Import up to 100 records; `jobs.wait` tells what became of them.

        The request is repeated under one idempotency key until it is answered, so that the records are imported once.
        """
        body = gzip.compress(encode_records(records), mtime=0)
        return await self.send_body(body, kind=kind, mode=mode, idempotency_key=idempotency_key)

    async def send_body(
        self, body: bytes, *, kind: Kind = "orders", mode: Mode | None = None, idempotency_key: str | None = None
    ) -> Accepted:
        """Import records that are gzipped JSON already."""
        headers = _JSON | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        response = await self._transport.request(
            IMPORT, "POST", f"{self._path}/{kind}", params={"mode": mode}, content=body, headers=headers
        )
        return decode(response.body, Accepted)

    async def send_one(
        self,
        record: Record,
        *,
        user_id: str,
        kind: Kind = "orders",
        mode: Mode | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Import one record of a user; repeated under one idempotency key, as by `send`."""
        response = await self._transport.request(
            IMPORT,
            "PUT",
            f"{self._path}/{kind}/users/{quote(user_id, safe='')}",
            params={"mode": mode},
            content=gzip.compress(encode_records(record), mtime=0),
            headers=_JSON | {"Idempotency-Key": idempotency_key or uuid4().hex},
        )
        return decode(response.body, Accepted)

    async def validate(
        self, records: Sequence[Record], *, kind: Kind = "orders", mode: Mode | None = None
    ) -> Validated:
        """Return what importing up to 100 records would come to; nothing is imported."""
        body = gzip.compress(encode_records(records), mtime=0)
        return await self.validate_body(body, kind=kind, mode=mode)

    async def validate_body(self, body: bytes, *, kind: Kind = "orders", mode: Mode | None = None) -> Validated:
        """Validate records that are gzipped JSON already."""
        params = {"mode": mode, "validateOnly": "true"}
        response = await self._transport.request(
            IMPORT, "POST", f"{self._path}/{kind}", params=params, content=body, headers=_JSON
        )
        return decode(response.body, Validated)

    async def file(
        self,
        path: Path | str,
        *,
        kind: Kind = "orders",
        mode: Mode | None = None,
        share: float = 1.0,
        files: FileOptions | None = None,
    ) -> AsyncIterator[Progress]:
        """Import a CSV, XLSX, JSON or NDJSON file; yield progress until the outcome of each record is known.

        It has connections and threads of its own; `http` of the client is not used.

        With `FileOptions.manifest`, a SQLite file, an import that was interrupted goes on where it was. It belongs to
        one file and its options: `ManifestError` is raised for another, `ManifestLockedError` while another process
        imports with it. Raises `SourceError` for a file that cannot be imported as it is.
        """
        transport = self._transport
        file_import = FileImport(
            transport.base_url,
            transport.credentials,
            transport.retry,
            path=path,
            files=files or FileOptions(),
            options=ImportOptions(kind=kind, mode=mode, share=share),
        )
        async with aclosing(async_steps(file_import)) as following:
            async for progress in following:
                yield progress

    async def limits(self, *, validate_only: bool = False) -> Limits:
        """Return the site's limits, and what is left of them; with `validate_only` those of validating."""
        params = {"validateOnly": "true" if validate_only else None}
        return await self._transport.get(IMPORT, f"{self._path}/limits", Limits, **params)
