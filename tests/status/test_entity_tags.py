"""Entity tags: two contents of a job never share one."""

from msgspec.structs import replace

from services.status.domain.job import Job, new_job
from services.status.http.responses import events_etag, records_etag
from tests.status.builders import a_profile


def a_job(*, shown_version: int, last_us: int) -> Job:
    job = new_job(a_profile()).job
    return replace(job, version=shown_version, shown_version=shown_version, tally=replace(job.tally, last_us=last_us))


def test_a_tag_names_the_version_and_its_time() -> None:
    """Breaks: a restored database gets the same events in another grouping, so a version has other contents.

    Must hold: the time of the last outcome tells them apart (I4).
    """
    now_us = a_profile().header.created_at + 1_000
    before, after = a_job(shown_version=3, last_us=now_us), a_job(shown_version=3, last_us=now_us + 1)
    assert events_etag(before) != events_etag(after)
    assert records_etag(before, lines=False) != records_etag(after, lines=False)
    assert events_etag(before) != events_etag(a_job(shown_version=4, last_us=now_us))
