"""Imports whole files from a program, as the command does."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from tillstream.http import Credentials, RetryPolicy
from tillstream.importer import Importer, ImportOptions, Progress, StoppedError
from tillstream.manifest import Manifest, options_digest
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """How a file is read, and where the import's state is kept: a SQLite file for one file and its options."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo | None = None
    decimal: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    manifest: Path | None = None

    def flat_options(self, kind: str) -> FlatOptions:
        """Return how the file's rows are read."""
        return FlatOptions(kind, self.mapping, self.decimal, self.zone, self.delimiter, self.encoding)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileImport:
    """One import of a file, with connections of its own."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        retry: RetryPolicy,
        *,
        path: Path | str,
        files: FileOptions,
        options: ImportOptions,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials
        self._retry = retry
        self._path = Path(path)
        self._files = files
        self._options = options
        self._resources = ExitStack()
        self._importer: Importer | None = None
        self._stopped = False

    def run(self) -> Generator[Progress, None, None]:
        """Yield progress; raises `SourceError` for a file that cannot be imported as it is.

        Raises `StoppedError` after `stop`, and `ManifestError` if the manifest is that of another import.
        """
        from tillstream._sync.client import Client  # noqa: PLC0415 - the client uses this module

        files, who = self._files, self._credentials
        source = open_source(self._path, files.flat_options(self._options.kind))
        total = source.count()
        self._check_stop()
        manifest = Manifest(files.manifest)
        self._resources.callback(manifest.close)
        manifest.bind(self._identity())
        client = Client(self._base_url, who.client_id, who.client_secret, who.api_key, retry=self._retry)
        self._resources.enter_context(client)
        self._importer = Importer(client, source, manifest, self._options)
        # Stopped between the first check and now: the importer has not been told.
        self._check_stop()
        yield from self._importer.run(total)

    def stop(self) -> None:
        """Send nothing more; may be called at any time and from any thread."""
        self._stopped = True
        if self._importer is not None:
            self._importer.stop()

    def close(self) -> None:
        """Close connections and manifest."""
        self._resources.close()

    def _identity(self) -> str:
        files, options, who = self._files, self._options, self._credentials
        return options_digest(
            {
                "kind": options.kind,
                "mode": options.mode,
                "map": options_digest(dict(files.mapping)),
                "zone": None if files.zone is None else str(files.zone),
                "decimal": files.decimal,
                "delimiter": files.delimiter,
                "encoding": files.encoding,
                "base": self._base_url,
                "client": who.client_id,
                "apiKey": who.api_key,
                "file": file_digest(self._path),
            }
        )

    def _check_stop(self) -> None:
        if self._stopped:
            raise StoppedError("the import was stopped")
