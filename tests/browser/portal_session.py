"""A client at the portal without a browser, for what has to be there before pages are looked at."""

import re
import time
from html import unescape
from typing import Self

import httpx2

from tests.browser.page_cases import CUSTOMER

DEADLINE_S = 60.0
_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class PortalSession:
    """Signs in, uploads, sends forms."""

    def __init__(self, base: str, who: tuple[str, str] = CUSTOMER) -> None:
        self._http = httpx2.Client(base_url=base, headers={"Origin": base}, timeout=30)
        form = {"client_id": who[0], "client_secret": who[1]}
        assert self.post("/portal/sign-in", form).startswith("/portal/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def upload(self, name: str, content: bytes) -> str:
        """Upload a file; return the path of its page."""
        form = {"form_token": self._token("/portal/files")}
        response = self._http.post("/portal/files", data=form, files={"file": (name, content)})
        return str(response.headers["Location"])

    def get(self, path: str) -> str:
        """Return a page."""
        return self._http.get(path).raise_for_status().text

    def post(self, path: str, form: dict[str, str], *, page: str | None = None) -> str:
        """Send the form of a page, that of the path unless another is given; return where it leads."""
        response = self._http.post(path, data={"form_token": self._token(page or path), **form})
        assert response.status_code == 303, response.text
        return str(response.headers["Location"])

    def wait(self, path: str) -> None:
        """Return once the check or import of the page has ended."""
        deadline = time.monotonic() + DEADLINE_S
        while "data-unfinished" in (text := self._http.get(path).text):
            assert time.monotonic() < deadline, text
            time.sleep(0.2)  # between two looks at a page

    def _token(self, path: str) -> str:
        found = _TOKEN.search(self._http.get(path).text)
        assert found is not None, path
        return unescape(found[1])
