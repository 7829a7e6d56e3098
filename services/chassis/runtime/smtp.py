"""Mail servers: their URL, and connections to them."""

import ssl
from urllib.parse import unquote, urlsplit

import aiosmtplib
from msgspec import Struct

TIMEOUT_S = 20.0
_EXPECTED = "must be smtp://host:port or smtps://host:port, with user and password percent-encoded"


class SmtpServer(Struct, frozen=True):
    """Address and credentials of a mail server."""

    host: str
    port: int
    is_encrypted: bool
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """Hide the password."""
        return f"SmtpServer({self.host}:{self.port})"


def parse_smtp_url(url: str) -> SmtpServer:
    """Parse the URL of a mail server; raises `ValueError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Python's own message may quote a part of the password.
        raise ValueError(_EXPECTED) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError(_EXPECTED)
    is_encrypted = parts.scheme == "smtps"
    return SmtpServer(
        parts.hostname,
        port or (465 if is_encrypted else 587),
        is_encrypted,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )


def connect(server: SmtpServer) -> aiosmtplib.SMTP:
    """Return a connection, to be used with `async with`."""
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.is_encrypted,
        tls_context=ssl.create_default_context(),
        timeout=TIMEOUT_S,
    )
