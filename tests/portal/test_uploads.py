"""Files are received piece by piece, whatever breaks in between, and belong to one site."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.chassis.mongodb.client import Mongo
from services.portal.adapters.upload_store import PIECES, UPLOADS, MongoUploadStore
from services.portal.domain.upload import (
    MAX_FILE_BYTES,
    RefusedUpload,
    Upload,
    WrongOffset,
    clean_name,
    describe_bytes,
)
from services.portal.flows import upload_files
from services.portal.flows.upload_files import Deps, Sender, append, begin, receive
from tests.portal.mongo_fixtures import DAY_US, OTHER_SITE, SITE, Clock, clock, each_mongo

__all__ = ["clock", "each_mongo"]

WHO = Sender(site=SITE, client_id="c")


@pytest.fixture
async def store(each_mongo: Mongo, clock: Clock) -> MongoUploadStore:
    store = MongoUploadStore(each_mongo, now_us=clock)
    await store.create_indexes()
    return store


@pytest.fixture
def deps(store: MongoUploadStore, clock: Clock) -> Deps:
    return Deps(uploads=store, now_us=clock, new_id=lambda: uuid4().hex, quota_bytes=MAX_FILE_BYTES, days=7)


async def begun(deps: Deps, size: int = 10) -> Upload:
    upload = await begin("sales.csv", size, WHO, deps)
    assert isinstance(upload, Upload)
    return upload


async def content(store: MongoUploadStore, upload: Upload) -> bytes:
    return b"".join([piece async for piece in store.pieces(upload)])


async def test_a_file_is_put_together_from_its_pieces(deps: Deps, store: MongoUploadStore) -> None:
    upload = await begun(deps)
    assert await append(upload, 0, b"0123", deps) == upload
    assert await store.received(upload.id) == 4
    complete = await append(upload, 4, b"456789", deps)
    assert isinstance(complete, Upload)
    assert complete.is_complete
    assert await store.find(SITE, upload.id) == complete
    assert await content(store, complete) == b"0123456789"


@pytest.mark.parametrize(
    ("offset", "piece", "answer"),
    [
        (0, b"0123", WrongOffset(4)),
        (5, b"5", WrongOffset(4)),
        (4, b"4567890", "more"),
        (4, b"", "at least one byte"),
    ],
)
async def test_a_piece_that_does_not_continue_the_file_changes_nothing(
    deps: Deps, store: MongoUploadStore, offset: int, piece: bytes, answer: WrongOffset | str
) -> None:
    """Breaks if a browser that repeats a piece whose response was lost makes another file of it."""
    upload = await begun(deps)
    await append(upload, 0, b"0123", deps)
    refused = await append(upload, offset, piece, deps)
    assert refused == answer if isinstance(answer, WrongOffset) else isinstance(refused, RefusedUpload)
    if isinstance(refused, RefusedUpload):
        assert str(answer) in refused.reason
    assert await store.received(upload.id) == 4


async def test_of_two_tabs_that_send_the_same_piece_one_is_told_to_go_on(deps: Deps, store: MongoUploadStore) -> None:
    upload = await begun(deps, 40)
    for offset in range(0, 40, 10):
        pieces = [append(upload, offset, bytes([ord("a") + tab]) * 10, deps) for tab in range(5)]
        answers = await asyncio.gather(*pieces)
        assert sum(isinstance(each, Upload) for each in answers) == 1
        assert [each.offset for each in answers if isinstance(each, WrongOffset)] == [offset + 10] * 4
    found = await store.find(SITE, upload.id)
    assert found is not None
    assert found.is_complete
    assert len(await content(store, found)) == 40


async def test_pieces_after_the_end_are_refused(deps: Deps) -> None:
    upload = await begun(deps, 2)
    complete = await append(upload, 0, b"ab", deps)
    assert isinstance(complete, Upload)
    assert await append(complete, 2, b"c", deps) == WrongOffset(2)


async def test_a_file_of_another_site_is_not_there(deps: Deps, store: MongoUploadStore) -> None:
    upload = await begun(deps)
    await append(upload, 0, b"0123456789", deps)
    assert await store.find(OTHER_SITE, upload.id) is None
    assert await store.of_site(OTHER_SITE) == []
    await store.delete(OTHER_SITE, upload.id)
    assert [each.id for each in await store.of_site(SITE)] == [upload.id]
    assert await store.received(upload.id) == 10


async def test_a_deleted_file_leaves_nothing(deps: Deps, store: MongoUploadStore, each_mongo: Mongo) -> None:
    upload, other = await begun(deps), await begun(deps)
    for each in (upload, other):
        await append(each, 0, b"0123456789", deps)
    await store.delete(SITE, upload.id)
    left = await each_mongo.collection(PIECES).find({}).to_list(None)
    assert [document["_id"] for document in left] == [f"{other.id}:0000000000"]
    assert await store.find(SITE, upload.id) is None


async def test_files_and_their_pieces_expire(
    deps: Deps, store: MongoUploadStore, each_mongo: Mongo, clock: Clock
) -> None:
    """MongoDB deletes what its TTL index names; until then nobody finds it, and it takes nothing of the quota."""
    upload = await begun(deps, MAX_FILE_BYTES)
    await append(upload, 0, b"x", deps)
    for collection in (UPLOADS, PIECES):
        indexes = await each_mongo.collection(collection).index_information()
        assert indexes["expires_1"]["expireAfterSeconds"] == 0
        (document,) = await each_mongo.collection(collection).find({}).to_list(None)
        assert document["expires"].timestamp() * 1_000_000 == upload.expires_us
    clock.now_us += 7 * DAY_US
    assert await store.find(SITE, upload.id) is None
    assert await store.of_site(SITE) == []
    assert (await begun(deps, MAX_FILE_BYTES)).size == MAX_FILE_BYTES


async def test_the_quota_of_a_site_holds_when_files_are_begun_at_once(deps: Deps, store: MongoUploadStore) -> None:
    size = MAX_FILE_BYTES // 4
    answers = await asyncio.gather(*(begin(f"{n}.csv", size, WHO, deps) for n in range(8)))
    listed = await store.of_site(SITE)
    assert len(listed) <= 4
    assert len(listed) == sum(isinstance(each, Upload) for each in answers)
    other = await begin("o.csv", size, Sender(site=OTHER_SITE, client_id="c"), deps)
    assert isinstance(other, Upload), "another site has a quota of its own"


async def test_a_full_quota_is_explained(deps: Deps) -> None:
    await begun(deps, MAX_FILE_BYTES - 1)
    refused = await begin("b.csv", 2, WHO, deps)
    assert isinstance(refused, RefusedUpload)
    assert "delete one" in refused.reason


@pytest.mark.parametrize(("size", "word"), [(0, "empty"), (-1, "empty"), (MAX_FILE_BYTES + 1, "at most 1 GB")])
async def test_impossible_sizes_are_refused(deps: Deps, size: int, word: str) -> None:
    refused = await begin("b.csv", size, WHO, deps)
    assert isinstance(refused, RefusedUpload)
    assert word in refused.reason


async def chunks_of(data: bytes, *, size: int = 3) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_a_form_is_received_in_one_request(
    deps: Deps, store: MongoUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser without scripts says only about how long the request is."""
    monkeypatch.setattr(upload_files, "MAX_PIECE_BYTES", 7)
    data = bytes(range(30))
    upload = await receive("s.csv", chunks_of(data), WHO, deps, announced=99)
    assert isinstance(upload, Upload)
    assert (upload.size, upload.is_complete) == (30, True)
    assert await store.find(SITE, upload.id) == upload
    assert await content(store, upload) == data
    assert await store.received(upload.id) == 30


async def test_a_form_that_breaks_off_leaves_nothing(
    deps: Deps, store: MongoUploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_files, "MAX_PIECE_BYTES", 2)

    async def broken() -> AsyncIterator[bytes]:
        yield b"abcdef"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await receive("s.csv", broken(), WHO, deps, announced=99)
    empty = await receive("s.csv", chunks_of(b""), WHO, deps, announced=99)
    assert isinstance(empty, RefusedUpload)
    larger = await receive("s.csv", chunks_of(b"abcdef"), WHO, deps, announced=5)
    assert isinstance(larger, RefusedUpload)
    assert await store.of_site(SITE) == []


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("sales.csv", "sales.csv"),
        ("C:\\fakepath\\Umsätze Mai.xlsx", "Umsätze Mai.xlsx"),
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        ("", "file"),
        ("a\0b\r\n<c>.csv", "a_b_c_.csv"),
        ("x" * 300 + ".xlsx", "x" * 115 + ".xlsx"),
    ],
)
def test_names_are_safe(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_sizes_are_written_for_people() -> None:
    assert [describe_bytes(size) for size in (1, 2048, 3 << 19, MAX_FILE_BYTES)] == ["1 byte", "2 KB", "1.5 MB", "1 GB"]
