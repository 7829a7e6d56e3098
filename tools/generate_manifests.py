"""Kubernetes objects that follow from declarations: topics and users for Strimzi, rules for the Prometheus operator."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import indent

from services.chassis.kafka.dead_letters import SUFFIX
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.settings import REPOSITORY
from services.topics import OPERATOR, TOPICS

K8S = REPOSITORY / "deploy" / "k8s"
RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
# The cluster that the objects belong to, and how many copies it keeps.
CLUSTER = "tillstream"
PARTITIONS, REPLICAS, IN_SYNC = 12, 3, 2
# Services that read as members of a consumer group; the group has the service's name.
GROUPS = ("validator", "status", "fulfilment")
USERS = ("auth", "ingest", "validator", "status", "fulfilment", OPERATOR)
# Who looks whether a group has something to read: status ends no job that waits to be judged.
ASKING = {"status": "validator"}
# Looks at the groups' lag, and at nothing else.
SCALER = "keda"
_WRITTEN = "# Written by `make docs` from the declarations in the code; do not edit.\n"


def manifests() -> Mapping[Path, str]:
    """Every generated manifest, by its path."""
    return {
        K8S / "components" / "strimzi" / "topics.yaml": _document(map(_topic, TOPICS)),
        K8S / "components" / "strimzi" / "users.yaml": _document(map(_user, (*USERS, SCALER))),
        K8S / "components" / "monitoring" / "rules.yaml": _document(map(_rules, sorted(RULES.glob("*.yml")))),
    }


def _document(objects: Iterable[str]) -> str:
    return _WRITTEN + "---\n".join(objects)


def _head(kind: str, name: str, *, version: str = "kafka.strimzi.io/v1") -> str:
    labels = f"  labels:\n    strimzi.io/cluster: {CLUSTER}\n" if version.startswith("kafka") else ""
    return f"apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n{labels}spec:\n"


def _topic(topic: Topic) -> str:
    config = {**topic.config, "min.insync.replicas": str(IN_SYNC)}
    lines = [
        f"topicName: {topic.name}",
        f"partitions: {topic.partitions or PARTITIONS}",
        f"replicas: {REPLICAS}",
        "config:",
        *(f"  {name}: {_quoted(value)}" for name, value in config.items()),
    ]
    return _head("KafkaTopic", topic.name) + indent("\n".join(lines) + "\n", "  ")


def _quoted(value: str) -> str:
    return value if value.lstrip("-").isdigit() else f'"{value}"'


def _user(name: str) -> str:
    acls = [
        f"- resource: {{type: {kind}, name: {resource}, patternType: literal}}\n  operations: [{', '.join(operations)}]"
        for kind, resource, operations in _access(name)
    ]
    lines = ["authentication:", "  type: scram-sha-512", "authorization:", "  type: simple", "  acls:"]
    return _head("KafkaUser", name) + indent("\n".join(lines) + "\n" + indent("\n".join(acls), "    ") + "\n", "  ")


def _access(user: str) -> Iterator[tuple[str, str, list[str]]]:
    """What a user may do with which resource: what the list of topics says, and no more."""
    for topic in TOPICS:
        operations = [
            *(["Read"] if user in topic.read_by or _may_replay(user, topic) or _may_look(user, topic) else ()),
            *(["Write"] if user in topic.written_by or _may_replay(user, topic) else ()),
            *(["Describe"] if user == SCALER and _is_read_by_a_group(topic) else ()),
        ]
        if operations:
            yield "topic", topic.name, sorted({*operations, "Describe"})
    if user in GROUPS:
        yield "group", user, ["Read"]
    if user in ASKING:
        yield "group", ASKING[user], ["Describe"]
    if user == SCALER:
        yield from (("group", group, ["Describe"]) for group in GROUPS)


def _may_replay(user: str, topic: Topic) -> bool:
    """The operator puts dead letters back where they came from, and leaves a mark beside them."""
    has_letters = any(other.name == topic.name + SUFFIX for other in TOPICS)
    return user == OPERATOR and (has_letters or topic.name.endswith(SUFFIX))


def _may_look(user: str, topic: Topic) -> bool:
    """Whether a record waits there is told by reading on from where the group is."""
    return user in ASKING and _is_read_by_a_group(topic, ASKING[user])


def _is_read_by_a_group(topic: Topic, *groups: str) -> bool:
    return any(group in topic.read_by for group in groups or GROUPS) and topic.retention_days is not None


def _rules(path: Path) -> str:
    head = _head("PrometheusRule", f"tillstream-{path.stem}", version="monitoring.coreos.com/v1")
    return head + indent(path.read_text(encoding="utf-8"), "  ", lambda line: bool(line.strip()))
