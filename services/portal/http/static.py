"""Style sheets, scripts and pictures: read once, compressed once, cached by browsers for good."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

STATIC = Path(__file__).parents[1] / "static"
BASE = "/portal/static"
YEAR_S = 31_536_000
_COMPRESSED = frozenset({".css", ".js", ".svg"})


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes | None
    content_type: str
    etag: str


class StaticFiles:
    """All files, under a path that changes with any of them: modules import each other by relative paths."""

    def __init__(self, directory: Path = STATIC) -> None:
        self._assets = {path.name: _load(path) for path in sorted(directory.iterdir()) if path.is_file()}
        digest = hashlib.sha256("".join(f"{name}{asset.etag}" for name, asset in self._assets.items()).encode())
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Return the path of a file; raises `KeyError` if there is none."""
        self._assets[name]
        return f"{BASE}/{self.version}/{name}"

    def size(self, name: str) -> int:
        """Return how many bytes a file has on the wire."""
        asset = self._assets[name]
        return len(asset.compressed or asset.content)

    async def serve(self, request: web.Request) -> web.Response:
        """Serve a file. Another replica's version is served as it is here, and not cached."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        is_current = request.match_info["version"] == self.version
        headers = {
            hdrs.CACHE_CONTROL: f"public, max-age={YEAR_S}, immutable" if is_current else "no-cache",
            hdrs.ETAG: asset.etag,
            hdrs.CONTENT_TYPE: asset.content_type,
        }
        if request.headers.get(hdrs.IF_NONE_MATCH) == asset.etag:
            return web.Response(status=304, headers=headers)
        if asset.compressed is not None:
            headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
            if accepts_gzip(request):
                headers[hdrs.CONTENT_ENCODING] = "gzip"
                return web.Response(body=asset.compressed, headers=headers)
        return web.Response(body=asset.content, headers=headers)


def accepts_gzip(request: web.Request) -> bool:
    """Whether the browser reads gzip."""
    return "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")


def _load(path: Path) -> _Asset:
    content = path.read_bytes()
    media_type = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0] or "text/plain"
    charset = "; charset=utf-8" if path.suffix in _COMPRESSED else ""
    return _Asset(
        content=content,
        compressed=gzip.compress(content, 9, mtime=0) if path.suffix in _COMPRESSED else None,
        content_type=media_type + charset,
        etag=f'"{hashlib.sha256(content).hexdigest()[:20]}"',
    )
