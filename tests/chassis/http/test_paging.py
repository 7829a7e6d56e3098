"""Page tokens are good for what they were made for, and the next page's address keeps what was asked."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import MultiDict
from yarl import URL

from services.chassis.http.paging import PageTokenCodec, TokenScope, next_link, page_token_from_query, rows_from_query
from services.chassis.runtime.errors import Problem

SCOPE: TokenScope = ("orders", 608, True, None)
CODEC = PageTokenCodec("a secret of sixteen", salt="one")
TOKEN = CODEC.encode(SCOPE, [12, "x"])


def test_a_token_holds_its_place() -> None:
    assert CODEC.decode(SCOPE, TOKEN, parts=2) == [12, "x"]
    assert PageTokenCodec("a secret of sixteen", salt="one").decode(list(SCOPE), TOKEN, parts=2) == [12, "x"]


@pytest.mark.parametrize(
    ("codec", "scope", "token", "parts"),
    [
        (PageTokenCodec("a secret of sixteen", salt="two"), SCOPE, TOKEN, 2),
        (PageTokenCodec("another of sixteen", salt="one"), SCOPE, TOKEN, 2),
        (CODEC, ("orders", 609, True, None), TOKEN, 2),
        (CODEC, SCOPE[:-1], TOKEN, 2),
        (CODEC, SCOPE, TOKEN, 1),
        (CODEC, SCOPE, TOKEN, 3),
        (CODEC, SCOPE, TOKEN[:-1], 2),
        (CODEC, SCOPE, "", 2),
        (CODEC, SCOPE, "é", 2),
    ],
    ids=["another API", "another secret", "another site", "fewer", "too few parts", "too many", "cut", "empty", "é"],
)
def test_a_token_of_anything_else_is_refused(codec: PageTokenCodec, scope: TokenScope, token: str, parts: int) -> None:
    with pytest.raises(Problem) as refused:
        codec.decode(scope, token, parts=parts)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAGE_TOKEN")


def test_the_next_page_is_asked_for_with_the_same_filters_and_no_other_token() -> None:
    query = "?rows=2&state=A%26B&state=%C3%A9&page=old&pageToken=old&nextPageToken=old"
    request = make_mocked_request("GET", f"/a%2Fb/jobs{query}")
    (link,) = next_link(request, "t=1").values()
    address, _, relation = link.partition("; ")
    assert relation == 'rel="next"'
    asked = URL(address.strip("<>"))
    assert asked.raw_path == "/a%2Fb/jobs"
    assert list(asked.query.items()) == [("rows", "2"), ("state", "A&B"), ("state", "é"), ("page", "t=1")]
    assert next_link(request, None) == {}


@pytest.mark.parametrize("name", ["page", "pageToken", "nextPageToken"])
def test_a_token_is_sent_by_any_of_its_names(name: str) -> None:
    assert page_token_from_query(MultiDict({name: "t"})) == "t"
    assert page_token_from_query(MultiDict({name: "t", "page": "t"})) == "t"
    assert page_token_from_query(MultiDict()) is None


@pytest.mark.parametrize(("given", "rows"), [(None, 7), ("1", 1), ("0010", 10), ("10", 10)])
def test_rows_are_a_whole_number_up_to_the_most(given: str | None, rows: int) -> None:
    assert rows_from_query(MultiDict({} if given is None else {"rows": given}), default=7, maximum=10) == rows
