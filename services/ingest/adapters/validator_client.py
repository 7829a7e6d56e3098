"""Client of the validator's internal API."""

from io import BytesIO

import aiohttp

from services.chassis.runtime.errors import UnavailableError
from services.ingest.domain.import_job import AcceptedJob
from services.ingest.wire import Encoder
from services.sales.dry_run import CONTENT_TYPE, PATH, VerdictRequest, VerdictResponse, decode_response, encode_message

_DEPENDENCY = "the validator"
_MAX_BYTES_AT_ONCE = 2**20


class ValidatorClient:
    """Lets the validator judge records; connects with the first call."""

    def __init__(self, url: str, encoder: Encoder, *, timeout_s: float) -> None:
        self._url = url.rstrip("/") + PATH
        self._encoder = encoder
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Do nothing: the first call connects."""

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def judge(self, job: AcceptedJob) -> VerdictResponse:
        """Return the verdict on each accepted record; raises `UnavailableError` if none comes within the timeout."""
        values = [value for _, _, value in self._encoder.encode_records(job)]
        response = await self._post(encode_message(VerdictRequest(job.header.type, values)))
        if len(response.faults) != len(values):
            raise UnavailableError(_DEPENDENCY)
        return response

    async def _post(self, body: bytes) -> VerdictResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": CONTENT_TYPE}
        # aiohttp writes large bytes at once, and warns that this may block the event loop.
        data = body if len(body) <= _MAX_BYTES_AT_ONCE else BytesIO(body)
        try:
            async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    raise UnavailableError(_DEPENDENCY)
                return decode_response(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(_DEPENDENCY) from error
