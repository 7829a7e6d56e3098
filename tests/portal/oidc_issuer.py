"""An OpenID Connect issuer over HTTP: discovery, authorization, token with PKCE, keys, end of session.

Its person has signed in already: the authorization endpoint leads back at once, or by a link. Faults are attributes.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "portal:at issuer", "secret/of the+portal"
SUBJECT = "subject-canary"
DISCOVERY, JWKS, TOKEN = "/.well-known/openid-configuration", "/jwks", "/token"
LIFETIME_S = 300


@cache
def rsa_key(kid: str) -> rsa.RSAPrivateKey:
    del kid
    return rsa.generate_private_key(65_537, 2_048)


@cache
def ec_key(kid: str) -> ec.EllipticCurvePrivateKey:
    del kid
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(kid: str, algorithm: str = "RS256") -> dict[str, Any]:
    public = (
        RSAAlgorithm.to_jwk(rsa_key(kid).public_key(), as_dict=True)
        if algorithm == "RS256"
        else ECAlgorithm.to_jwk(ec_key(kid).public_key(), as_dict=True)
    )
    return {**public, "kid": kid, "alg": algorithm, "use": "sig"}


def sign(claims: dict[str, Any], *, kid: str = "1", algorithm: str = "RS256") -> str:
    key = rsa_key(kid) if algorithm == "RS256" else ec_key(kid)
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def sign_with_hmac(claims: dict[str, Any], key: bytes) -> str:
    """Sign as a library does that takes the algorithm from the header, and the key without looking at its type."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "1"}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{_encode(hmac.digest(key, signed.encode(), 'sha256'))}"


def public_pem() -> bytes:
    return rsa_key("1").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class OidcIssuer:
    """The issuer, once `start` was called."""

    now_s: Callable[[], float]
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": SUBJECT})
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public_jwk("1")])
    metadata: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[dict[str, Any]], str] = sign
    # By path: an answer in place of the true one.
    instead: dict[str, Callable[[], web.StreamResponse]] = field(default_factory=dict)
    # Parameters of the way back: added, replaced, or left out if None.
    callback: dict[str, str | None] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authenticated_by: list[str] = field(default_factory=list)
    code_bytes: int = 16
    has_page: bool = False
    url: str = ""

    async def start(self, host: str = "127.0.0.1") -> TestServer:
        application = web.Application(middlewares=[self._middleware])
        application.add_routes(
            [
                web.get(DISCOVERY, self._discover),
                web.get("/authorize", self._authorize),
                web.post(TOKEN, self._issue),
                web.get(JWKS, self._show_keys),
                web.get("/end-session", self._end_session),
            ]
        )
        server = TestServer(application)
        await server.start_server()
        self.url = f"http://{host}:{server.port}"
        return server

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request.path)
        if request.path in self.instead:
            return self.instead[request.path]()
        response: web.StreamResponse = await handler(request)
        return response

    async def _discover(self, _request: web.Request) -> web.Response:
        found = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=7",
            "token_endpoint": self.url + TOKEN,
            "jwks_uri": self.url + JWKS,
            "end_session_endpoint": f"{self.url}/end-session",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response(found | self.metadata)

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert asked.pop("tenant") == "7"
        assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", CLIENT_ID, "openid")
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["state"]) >= 32
        assert len(asked["nonce"]) >= 32
        code = secrets.token_urlsafe(self.code_bytes)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url} | self.callback
        query = urlencode({name: value for name, value in back.items() if value is not None})
        url = f"{asked['redirect_uri']}?{query}"
        if self.has_page:
            return web.Response(text=f'<a href="{escape(url)}">Continue</a>', content_type="text/html")
        raise web.HTTPFound(url)

    async def _issue(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if not self._is_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        # Once, also if it fails.
        asked = self.codes.pop(form["code"], None)
        if asked is None or not self._is_grant(form, asked):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now_s = self.now_s()
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": int(now_s),
            "exp": int(now_s) + LIFETIME_S,
            "nonce": asked["nonce"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return web.json_response({"access_token": "x", "token_type": "Bearer", "id_token": self.sign(claims)})

    def _is_client(self, request: web.Request, form: dict[str, str]) -> bool:
        header = request.headers.get("Authorization")
        if header is None:
            self.authenticated_by.append("post")
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        self.authenticated_by.append("basic")
        client_id, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return (unquote_plus(client_id), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)

    @staticmethod
    def _is_grant(form: dict[str, str], asked: dict[str, str]) -> bool:
        challenge = _encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        return (
            form["grant_type"] == "authorization_code"
            and form["redirect_uri"] == asked["redirect_uri"]
            and challenge == asked["code_challenge"]
        )

    async def _show_keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": self.keys})

    async def _end_session(self, request: web.Request) -> web.Response:
        hint = jwt.decode(request.query["id_token_hint"], options={"verify_signature": False})
        assert (hint["iss"], hint["sub"]) == (self.url, SUBJECT)
        assert request.query["client_id"] == CLIENT_ID
        raise web.HTTPFound(request.query["post_logout_redirect_uri"])
