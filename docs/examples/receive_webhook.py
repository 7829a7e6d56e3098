"""Receives events: verifies the signature, recognises repeated events, answers before it works.

`pip install standardwebhooks`; `WEBHOOK_SECRET=whsec_… PORT=8000 python receive_webhook.py`, behind TLS.
"""

import json
import os
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 64 * 1024
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
database = sqlite3.connect(os.environ.get("DATABASE", "events.db"), check_same_thread=False)
database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT)")


class Handler(BaseHTTPRequestHandler):
    """Stores each event once; something else works through the table."""

    def do_POST(self) -> None:
        """Accept an event."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES))
        try:
            # Raises for a wrong signature, and for a request that is older than five minutes.
            event = webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except (WebhookVerificationError, ValueError):
            return self._answer(401)
        with database:
            # A repeated event has the same id.
            database.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (event["id"], json.dumps(event)))
        print(event["sequence"], event["type"], event["id"], flush=True)
        return self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: requests are printed above."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler)
    print("port", server.server_port, flush=True)
    server.serve_forever()
