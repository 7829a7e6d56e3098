"""All that a batch of events says of each job, put together."""

from collections.abc import Iterable

from msgspec import Struct

from services.status.domain.facts import UNPROCESSED, Expired, Header, JobEvent, Judged, Key, Run


class Dated(Struct, frozen=True, gc=False):
    """A run and when it came to be."""

    at_us: int
    run: Run


class News(Struct, gc=False):
    """What is new of one job, in the order in which it was read. The first header read is the one that counts."""

    header: Header
    runs: list[Dated]
    is_opened: bool

    @property
    def key(self) -> Key:
        """Whose news it is."""
        return self.header.key

    @property
    def decides(self) -> int:
        """How many records it speaks of, at most."""
        return sum(len(dated.run.letters) - dated.run.letters.count(".") for dated in self.runs)


def fold(events: Iterable[JobEvent]) -> dict[Key, News]:
    """The events by job."""
    folded: dict[Key, News] = {}
    for event in events:
        header = event.header
        news = folded.get(header.key)
        if news is None:
            news = folded[header.key] = News(header, [], is_opened=False)
        _add(news, event)
    return folded


def _add(news: News, event: JobEvent) -> None:
    fact = event.fact
    if isinstance(fact, Judged):
        news.runs.append(Dated(event.at_us, fact.run))
    elif isinstance(fact, Expired):
        # Expiry is an outcome like any other: it claims whatever nothing else has claimed before.
        news.runs.append(Dated(event.at_us, Run(0, UNPROCESSED * event.header.total)))
    else:
        news.is_opened = True
        if fact.refused is not None:
            news.runs.append(Dated(event.at_us, fact.refused))
