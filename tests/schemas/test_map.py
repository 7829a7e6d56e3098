"""Each service's package docstring (Reads, Writes) matches the list of topics."""

import importlib
import re

import pytest

from services.chassis.runtime.settings import REPOSITORY
from services.topics import TOPICS

SERVICES = sorted(path.parent.name for path in (REPOSITORY / "services").glob("*/__main__.py"))


def declared_topics(service: str, what: str) -> set[str]:
    """Return the topics that the service's docstring lists after `what`."""
    module = importlib.import_module(f"services.{service}")
    (listed,) = re.findall(rf"^{what}: +(.+(?:\n +.+)*)$", module.__doc__ or "", re.MULTILINE)
    return set(re.split(r",\s+", listed)) - {"nothing"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_and_writes_what_the_list_of_topics_says(service: str) -> None:
    assert declared_topics(service, "Reads") == {topic.name for topic in TOPICS if service in topic.read_by}
    assert declared_topics(service, "Writes") == {topic.name for topic in TOPICS if service in topic.written_by}


def test_every_service_that_the_list_names_is_there() -> None:
    named = {name for topic in TOPICS for name in (*topic.written_by, *topic.read_by)}
    using_kafka = {each for each in SERVICES if declared_topics(each, "Reads") | declared_topics(each, "Writes")}
    assert using_kafka == set(SERVICES) - {"portal"} <= named
