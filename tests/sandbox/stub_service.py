"""A stub service: listens on both ports, is ready at once, and answers every request with its path."""

import http.server
import json
import os
import sys
import threading
import uuid
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, {"summary": {"job-status": "PROCESSING", "job": {"terminal": True}}, "path": self.path})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, {"access_token": "stub", "jobId": str(uuid.uuid4())})

    do_PUT = do_POST  # noqa: N815 - the library's name

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        sys.stderr.write(f"{format % args}\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    api = Server(("127.0.0.1", int(os.environ["HTTP_PORT"])), Handler)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    Server(("127.0.0.1", int(os.environ["OPERATIONS_PORT"])), Handler).serve_forever()
