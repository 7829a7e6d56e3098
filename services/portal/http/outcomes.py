"""What became of requests that change something, for their readers."""

from collections.abc import Awaitable
from typing import TypeVar

from services.portal.http.visits import PageError
from tillstream import ApiError, OutcomeUnknownError, UnavailableError

T = TypeVar("T")


async def once(call: Awaitable[T], what_to_do: str, *, back: tuple[str, str]) -> T:
    """Await what is not repeated; if nobody knows whether it was carried out, raise a page that says what to do."""
    try:
        return await call
    except (OutcomeUnknownError, UnavailableError) as error:
        detail = f"The answer was lost on the way. Before you try again, {what_to_do}."
        raise PageError(503, "Nobody knows whether this was done", detail, back=back) from error


def sentence_of(error: ApiError) -> str:
    """Return what the API said, as a sentence."""
    return as_sentence(error.detail)


def as_sentence(text: str) -> str:
    """Return a detail with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
