"""Files are uploaded, looked at, checked and imported on pages, with and without scripts, each for its own site."""

import io
import re
from typing import Any

import pytest
from aiohttp import FormData
from msgspec.structs import replace

from services.portal.domain.file_import import Counts, FileImport, Purpose, State
from services.portal.domain.upload import MAX_PIECE_BYTES
from tests.portal.apis import JOB, OTHER, RESELLER, RETURNS_CLIENT, Apis, a_job
from tests.portal.site import ORIGIN, OWN_REQUEST, Site

HEADER = "Order no.;Customer;dateTime;productId;quantity;unitPrice"
CONTENT = f"{HEADER}\n1;u;2026-11-30 10:00;4556;2;9,99\n2;v;2026-11-30 11:00;9999;1;1,50\n".encode()
MAPPING = {"column-0": "id", "column-1": "userId", "column-2": "dateTime", "column-3": "productId"} | {
    "column-4": "quantity",
    "column-5": "unitPrice",
}
SITE = 608


async def upload(site: Site, content: bytes = CONTENT, name: str = "May sales.csv", **fields: str) -> str:
    """Send the form as a browser without scripts does; return the path of the file's page."""
    form = FormData(quote_fields=False)
    for key, value in {"form_token": await site.form_token("/portal/files"), **fields}.items():
        form.add_field(key, value)
    form.add_field("file", content, filename=name)
    async with site.client.post("/portal/files", data=form, headers=OWN_REQUEST, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        return response.headers["Location"]


async def choose(site: Site, path: str, action: str, **form: str) -> str:
    """Send the form of a file's page; return where it leads."""
    token = await site.form_token(path)
    fields = {"form_token": token, "action": action, "kind": "orders", **form}
    async with await site.post(path, fields) as response:
        assert response.status == 303, await response.text()
        return response.headers["Location"]


async def imports_of(site: Site) -> list[FileImport]:
    return list(await site.components.files.imports.of_site(SITE, limit=9))


async def test_a_site_without_files_is_shown_how_to_begin(signed_in: Site) -> None:
    text = await signed_in.text("/portal/files")
    assert "No file has been imported yet" in text
    for name in ("template-orders.xlsx", "template-returns.csv"):
        assert f'href="/portal/files/{name}"' in text
        async with await signed_in.get(f"/portal/files/{name}") as response:
            assert response.status == 200
            assert len(await response.read()) > 200


async def test_a_file_is_looked_at_its_columns_chosen_and_checked(signed_in: Site) -> None:
    path = await upload(signed_in)
    text = await signed_in.text(path)
    assert "May sales.csv" in text
    assert "Detected: semicolon" in text
    assert "Detected: UTF-8" in text
    assert 'Still without a column: <span class="tag">id</span>' in text
    assert "Check all first" not in text, "it cannot be read yet"
    run_path = await choose(signed_in, path, "check", **MAPPING)
    (run,) = await imports_of(signed_in)
    assert run_path == f"/portal/files/runs/{run.id}"
    assert (run.purpose, run.state, run.options.mapping) == (
        Purpose.CHECK,
        State.WAITING,
        {"id": "Order no.", "userId": "Customer"},
    )
    shown = await signed_in.text(path)
    assert "Detected: comma" in shown
    assert "Times in this file have no time zone. They are taken as Europe/Paris" in shown
    assert '"unitPrice":"9.99"' in shown
    assert "Check of May sales.csv" in await signed_in.text(run_path)
    assert run_path in await signed_in.text("/portal/files")


async def test_the_next_file_is_read_like_the_last_one(signed_in: Site) -> None:
    await choose(signed_in, await upload(signed_in), "preview", **MAPPING)
    text = await signed_in.text(await upload(signed_in, CONTENT.replace(b"1;u", b"3;w"), "June.csv"))
    assert "Check all first" in text
    assert "Still without a column" not in text


async def test_what_was_detected_can_be_said_otherwise(signed_in: Site) -> None:
    path = await upload(signed_in)
    await choose(signed_in, path, "preview", **MAPPING)
    await choose(
        signed_in, path, "preview", **MAPPING, zone="Asia/Tokyo", decimal=".", encoding="cp1252", mode="online"
    )
    text = await signed_in.text(path)
    assert '"dateTime":"2026-11-30T10:00:00+09:00"' in text
    assert "have no time zone" not in text
    assert '<option value="cp1252" selected>' in text


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"zone": "Mars/Olympus"}, "There is no time zone “Mars/Olympus”"),
        ({"encoding": "klingon"}, "The choice for encoding was not understood"),
        (MAPPING | {"column-1": "id"}, "id has several columns"),
    ],
)
async def test_what_cannot_be_meant_is_said_and_not_stored(signed_in: Site, form: dict[str, str], message: str) -> None:
    path = await upload(signed_in)
    token = await signed_in.form_token(path)
    fields = {"form_token": token, "action": "check", "kind": "orders", **form}
    async with await signed_in.post(path, fields) as response:
        assert response.status == 400
        assert message in await response.text()
    assert await imports_of(signed_in) == []


async def test_an_import_is_paused_resumed_and_cancelled(signed_in: Site) -> None:
    path = await upload(signed_in)
    run_path = await choose(signed_in, path, "import", **MAPPING)
    states = []
    for wish in ("pause", "resume", "cancel", "resume"):
        token = await signed_in.form_token(run_path)
        async with await signed_in.post(f"{run_path}/{wish}", {"form_token": token}) as response:
            assert response.status == 303
        states.append((await imports_of(signed_in))[0].state)
    assert states == [State.PAUSED, State.WAITING, State.CANCELLED, State.CANCELLED]
    assert await choose(signed_in, path, "import", **MAPPING) == f"{run_path}?known=1"
    assert (await imports_of(signed_in))[0].state is State.WAITING, "it goes on where it was"


async def test_a_result_says_what_to_do(signed_in: Site) -> None:
    path = await upload(signed_in)
    run_path = await choose(signed_in, path, "check", **MAPPING)
    files = signed_in.components.files
    run = await files.imports.claim("w", lease_us=10**9, max_per_site=4)
    counts = Counts(sent=2, succeeded=1, failed=1)
    await files.imports.settle(replace(run, state=State.DONE, total=2, counts=counts))
    text = await signed_in.text(run_path)
    assert "Import all 2; 1 will fail" in text
    assert "Check again" in text
    assert f'href="{run_path}/failed.csv"' in text


async def test_pieces_go_on_where_they_were(signed_in: Site) -> None:
    """As the script sends them."""
    form_token = await signed_in.form_token("/portal/files")
    fields = {"form_token": form_token, "name": "big.csv", "size": str(len(CONTENT))}
    async with await signed_in.post("/portal/files/uploads", fields) as response:
        assert response.status == 201
        path = (await response.json())["path"]
    headers = OWN_REQUEST | {"X-Form-Token": form_token}

    async def put(offset: int, piece: bytes, *, status: int, sent: dict[str, str] | None = None) -> dict[str, Any]:
        url = f"{path}/content?offset={offset}"
        async with signed_in.client.put(url, data=io.BytesIO(piece), headers=sent or headers) as response:
            assert response.status == status, await response.text()
            return await response.json() if status in {200, 409} else {}

    assert await put(0, CONTENT[:10], status=200) == {"offset": 10, "isComplete": False}
    assert await put(0, CONTENT[:10], status=409) == {"offset": 10, "isComplete": False}
    await put(10, b"x" * (MAX_PIECE_BYTES + 1), status=413)
    await put(10, CONTENT[10:], status=403, sent=OWN_REQUEST)
    await put(10, CONTENT[10:], status=403, sent={"Origin": "https://evil.example", "X-Form-Token": form_token})
    text = await signed_in.text(path)
    assert "The upload is not finished: 10 bytes of" in text
    async with await signed_in.get(f"{path}/content") as response:
        assert await response.json() == {"offset": 10, "isComplete": False}
    assert await put(10, CONTENT[10:], status=200) == {"offset": len(CONTENT), "isComplete": True}
    assert "How the file is read" in await signed_in.text(path)


async def test_a_file_is_complete_though_a_process_ended_before_it_said_so(signed_in: Site) -> None:
    path = await upload(signed_in)
    uploads = signed_in.components.files.uploads
    await uploads._uploads.update_many({}, {"$set": {"is_complete": False}})
    async with await signed_in.get(f"{path}/content") as response:
        assert await response.json() == {"offset": len(CONTENT), "isComplete": True}
    assert "How the file is read" in await signed_in.text(path)


@pytest.mark.parametrize(
    ("content", "name", "message"), [(b"", "empty.csv", "empty"), (b"x", "", "No file was chosen")]
)
async def test_an_empty_form_is_explained(signed_in: Site, content: bytes, name: str, message: str) -> None:
    form = FormData(quote_fields=False)
    form.add_field("form_token", await signed_in.form_token("/portal/files"))
    form.add_field("file", content, filename=name)
    async with signed_in.client.post("/portal/files", data=form, headers=OWN_REQUEST) as response:
        assert response.status == 400
        assert message.lower() in (await response.text()).lower()


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_no_other_site_uploads(signed_in: Site, headers: dict[str, str]) -> None:
    form = FormData(quote_fields=False)
    form.add_field("form_token", await signed_in.form_token("/portal/files"))
    form.add_field("file", CONTENT, filename="f.csv")
    async with signed_in.client.post("/portal/files", data=form, headers=headers) as response:
        assert response.status == 403
    assert await signed_in.components.files.uploads.of_site(SITE) == []


async def test_a_form_without_its_token_stores_nothing(signed_in: Site) -> None:
    form = FormData(quote_fields=False)
    form.add_field("file", CONTENT, filename="f.csv")
    headers = {"Origin": ORIGIN}
    async with signed_in.client.post("/portal/files", data=form, headers=headers) as response:
        assert response.status == 403
    assert await signed_in.components.files.uploads.of_site(SITE) == []


async def test_files_and_imports_of_another_site_are_not_there(signed_in: Site, site: Site) -> None:
    path = await upload(signed_in)
    run_path = await choose(signed_in, path, "import", **MAPPING)
    signed_in.client.session.cookie_jar.clear()
    async with await site.sign_in(OTHER):
        pass
    for foreign in (path, f"{path}/content", run_path, f"{run_path}/failed.csv"):
        await site.text(foreign, status=404)
    token = await site.form_token("/portal/files")
    for foreign in (path, f"{path}/delete", f"{run_path}/cancel", f"{run_path}/pause"):
        async with await site.post(foreign, {"form_token": token, "action": "import", "kind": "orders"}) as response:
            assert response.status == 404
    assert path not in await site.text("/portal/files")
    headers = OWN_REQUEST | {"X-Form-Token": token}
    async with site.client.put(f"{path}/content?offset=0", data=b"x", headers=headers) as response:
        assert response.status == 404
    (run,) = await imports_of(signed_in)
    assert run.state is State.WAITING


async def test_who_may_not_import_is_told_so(site: Site) -> None:
    async with await site.sign_in(RESELLER):
        pass
    assert "orders:write" in await site.text("/portal/files", status=403)
    assert 'href="/portal/files"' not in await site.text("/portal/")


async def test_who_may_import_returns_only_imports_returns_only(signed_in: Site, site: Site) -> None:
    path = await upload(signed_in)
    run_path = await choose(signed_in, path, "import", **MAPPING)
    signed_in.client.session.cookie_jar.clear()
    async with await site.sign_in(RETURNS_CLIENT):
        pass
    assert 'href="/portal/files"' in await site.text("/portal/")
    for refused, fields in ((path, {"action": "import", "kind": "orders"}), (path, {"action": "import"})):
        async with await site.post(refused, {"form_token": await site.form_token(path), **fields}) as response:
            assert response.status == 403
            assert "“orders:write”" in await response.text()
    async with await site.post(f"{run_path}/resume", {"form_token": await site.form_token(path)}) as response:
        assert response.status == 403
    own = await upload(site, b"id;orderId\n1;2\n", "returns.csv")
    text = await site.text(own)
    assert '<option value="returns" selected>' in text
    assert '<option value="orders"' not in text
    assert '<th scope="row">orderId</th>' in text
    (run,) = await imports_of(site)
    assert run.options.kind == "orders", "what another client has begun"


async def test_a_file_is_deleted_unless_it_is_in_use(signed_in: Site) -> None:
    path = await upload(signed_in)
    run_path = await choose(signed_in, path, "import", **MAPPING)

    async def delete() -> int:
        token = await signed_in.form_token(path)
        async with await signed_in.post(f"{path}/delete", {"form_token": token}) as response:
            return response.status

    assert await delete() == 409
    token = await signed_in.form_token(run_path)
    async with await signed_in.post(f"{run_path}/cancel", {"form_token": token}):
        pass
    assert await delete() == 303
    await signed_in.text(path, status=404)
    assert "Cancelled" in await signed_in.text(run_path), "what was done with it is still told"


async def test_a_mended_file_names_what_it_mends(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job()]
    assert "Choose the mended file" in await signed_in.text(f"/portal/files?job={JOB}")
    path = await upload(signed_in, mends_job=JOB)
    await choose(signed_in, path, "import", **MAPPING)
    (run,) = await imports_of(signed_in)
    assert run.mends_job == JOB
    again = await upload(signed_in, CONTENT + b"3;w;2026-11-30 11:00;4556;1;1,50\n", mends_import=run.id)
    second = await choose(signed_in, again, "import", **MAPPING)
    assert second in await signed_in.text(f"/portal/files/runs/{run.id}"), "the old one names the new one"
    assert f"/portal/files/runs/{run.id}" in await signed_in.text(second)


async def test_what_is_no_file_of_sales_is_explained(signed_in: Site) -> None:
    text = await signed_in.text(await upload(signed_in, b"%PDF-1.7 and so on", "sales.pdf"))
    assert "sales.pdf is a PDF document" in text
    assert not re.search(r"/[\w-]+/spool/", text)
