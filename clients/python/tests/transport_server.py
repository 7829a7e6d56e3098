"""A server whose replies are prescribed, and some replies."""

from collections.abc import Sequence

import httpx2

SECRET = "s3cret-canary"
Reply = httpx2.Response | Exception


def fresh(reply: httpx2.Response) -> httpx2.Response:
    """Return a copy: a response that was read belongs to one client."""
    return httpx2.Response(reply.status_code, headers=reply.headers, content=reply.content)


class Server:
    """Answers token requests, and all others with the prescribed replies in turn; the last one repeats."""

    def __init__(self, *replies: Reply, lifetime_s: int = 28_800, refusals: Sequence[httpx2.Response] = ()) -> None:
        self.replies = list(replies)
        # Of token requests, before one is granted.
        self.refusals = list(refusals)
        self.lifetime_s = lifetime_s
        self.tokens: list[str] = []
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            if self.refusals:
                return fresh(self.refusals.pop(0))
            self.tokens.append(request.url.path)
            token = f"token{len(self.tokens)}"
            return httpx2.Response(
                200, json={"token_type": "bearer", "access_token": token, "expires_in": self.lifetime_s}
            )
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return fresh(reply)


GOOD = httpx2.Response(
    200,
    json={
        "recordsPerSecond": 100,
        "remaining": 98,
        "resetAfterSeconds": 1,
        "recordsPerRequest": 100,
        "bytesPerRequest": 102_400,
        "inflatedBytesPerRequest": 4_194_304,
    },
)


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    body = {
        "detail": "a reason",
        "code": code,
        "requestId": "r1",
        "errors": [{"pointer": "/0", "code": code, "detail": "d"}],
    }
    return httpx2.Response(status, json=body, headers={"Content-Type": "application/problem+json", **headers})
