"""Imports whole files from a program, as the command does."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from pathlib import Path

from tillstream._sync.client import Client
from tillstream.importer import Importer, ImportOptions, Progress
from tillstream.manifest import Manifest
from tillstream.models import Kind, Mode
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source


def import_file(
    client: Client,
    path: Path | str,
    *,
    kind: Kind = "orders",
    mode: Mode | None = None,
    mapping: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    decimal: str | None = None,
    share: float = 1.0,
    manifest: Path | None = None,
) -> Iterator[Progress]:
    """Import a CSV, XLSX, JSON or NDJSON file; yield progress, at the end with the outcome of each record counted.

    With a `manifest`, a SQLite file, an import that was interrupted goes on where it was; use one for each file and
    its options. Raises `SourceError` for a file that cannot be imported as it is.
    """
    source = open_source(Path(path), FlatOptions(kind, mapping or {}, decimal, zone))
    stored = Manifest(manifest)
    try:
        yield from Importer(client, source, stored, ImportOptions(kind=kind, mode=mode, share=share)).run(
            source.count()
        )
    finally:
        stored.close()
