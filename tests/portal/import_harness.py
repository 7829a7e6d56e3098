"""Workers of several processes, in one, over a real MongoDB and the APIs as an import sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import httpx2
from import_server import Server

from services.chassis.mongodb.client import Mongo
from services.chassis.security.keyed_cipher import KeyedCipher
from services.portal.adapters.batch_log import MongoBatchLog
from services.portal.adapters.credential_vault import MongoCredentialVault
from services.portal.adapters.import_runner import ThreadImportRunner
from services.portal.adapters.import_store import MongoImportStore
from services.portal.adapters.mending_store import MongoLinkStore
from services.portal.adapters.spool import LocalSpool
from services.portal.adapters.upload_store import MongoUploadStore
from services.portal.background import ImportWorker
from services.portal.domain.file_import import FileImport, Purpose, ReadOptions, Wish
from services.portal.domain.upload import Upload
from services.portal.flows import run_imports, start_imports, upload_files
from tests.chassis.eventually import until
from tests.portal.mongo_fixtures import SECOND_US, SITE, Clock
from tillstream import Client, RetryPolicy
from tillstream.http import Credentials

WHO = Credentials("c", "s3cret-canary", "k")
KEY = b"k" * 32


class Process:
    """The parts of the portal that imports need, as one process has them."""

    def __init__(self, mongo: Mongo, directory: Path, server: Server, clock: Clock) -> None:
        self.clock = clock
        self.uploads = MongoUploadStore(mongo, now_us=clock)
        self.imports = MongoImportStore(mongo, now_us=clock)
        self.log = MongoBatchLog(mongo)
        self.links = MongoLinkStore(mongo, now_us=clock)
        cipher = KeyedCipher([KEY], setting="PORTAL_ENCRYPTION_KEYS", subject="a credential")
        self.vault = MongoCredentialVault(mongo, cipher)
        self.spool = LocalSpool(directory, self.uploads)
        self.upload_deps = upload_files.Deps(
            uploads=self.uploads, now_us=clock, new_id=lambda: uuid4().hex, quota_bytes=1 << 30, days=7
        )
        self.start_deps = start_imports.Deps(
            imports=self.imports,
            credentials=self.vault,
            spool=self.spool,
            now_us=clock,
            wake=lambda: self.worker.wake(),  # noqa: PLW0108 - the worker is made later
        )
        self.worker = ImportWorker(self._run_deps(server), capacity=4, interval_s=0.05)

    def _run_deps(self, server: Server) -> run_imports.Deps:
        def connect(who: Credentials) -> Client:
            http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
            retry = RetryPolicy(max_wait_s=0)
            return Client("https://t.example", who.client_id, who.client_secret, who.api_key, http=http, retry=retry)

        return run_imports.Deps(
            imports=self.imports,
            uploads=self.uploads,
            log=self.log,
            credentials=self.vault,
            links=self.links,
            spool=self.spool,
            runner=ThreadImportRunner(self.log, connect=connect),
            now_us=self.clock,
            heartbeat_s=0.02,
        )

    async def start(self) -> "Process":
        """Start to work on what waits."""
        await self.spool.start()
        await self.worker.start()
        return self

    async def stop(self) -> None:
        """Stop as a process does that was told to."""
        await self.worker.stop()
        await self.spool.stop()

    async def upload(self, path: Path, *, mends_job: str | None = None) -> Upload:
        """Upload a file."""
        content = await asyncio.to_thread(path.read_bytes)

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        upload = await upload_files.receive(
            path.name,
            chunks(),
            upload_files.Sender(site=SITE, client_id="c", mends_job=mends_job),
            self.upload_deps,
            announced=len(content),
        )
        assert isinstance(upload, Upload)
        return upload

    async def begin(self, upload: Upload, purpose: Purpose = Purpose.IMPORT, *, mode: str | None = None) -> FileImport:
        """Begin a check or an import."""
        begun = await start_imports.start(upload, ReadOptions(mode=mode), purpose, WHO, self.start_deps)
        return begun.run

    async def wish(self, run: FileImport, wish: Wish) -> FileImport:
        """Pause, resume or cancel."""
        changed = await start_imports.control(SITE, run.id, wish, WHO, self.start_deps)
        assert changed is not None
        return changed

    async def find(self, run: FileImport) -> FileImport:
        """Return how an import is now."""
        found = await self.imports.find(run.site, run.id)
        assert found is not None
        return found

    async def when(self, run: FileImport, condition: Callable[[FileImport], bool]) -> FileImport:
        """Return the import once the condition holds."""

        async def holds() -> bool:
            return condition(await self.find(run))

        try:
            await until(holds, deadline_s=30)
        except TimeoutError:
            raise AssertionError(f"still {await self.find(run)}") from None
        return await self.find(run)

    async def ended(self, run: FileImport) -> FileImport:
        """Return the import once it has ended."""
        return await self.when(run, lambda each: each.state.is_final)


async def until_idle(process: Process) -> None:
    """Wait until nothing runs in a process; retries of what failed come later."""
    await until(lambda: not process.worker.running)
    process.clock.now_us += 60 * SECOND_US
    await asyncio.sleep(0)
