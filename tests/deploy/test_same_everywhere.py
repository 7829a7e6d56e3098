"""Sandbox, compose, Kubernetes, the gateway's routes and the list of topics agree with each other."""

import re
from typing import Any

import pytest
import yaml

from sandbox import services as sandbox
from sandbox.kafka_settings import COMMON_SETTINGS
from services.cli.settings import CliSettings
from services.status.app import UPSTREAM_TOPICS
from services.status.settings import Settings
from services.topics import BY_NAME, OPERATOR, TOPICS
from tests.deploy import compose, manifests
from tests.deploy.manifests import OVERLAYS, REPOSITORY, by_kind, container_spec
from tests.deploy.service_settings import (
    IMAGE_VARIABLES,
    KAFKA_NAMES,
    NAMES,
    all_variables,
    setting_names,
    settings_fields,
)
from tools.generate_manifests import LAG_READERS

API, OPERATIONS = 8080, 9000
CADDYFILE = (REPOSITORY / "deploy" / "gateway" / "Caddyfile").read_text(encoding="utf-8")
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
# Variables that only the sandbox sets, because everything runs on one machine.
SANDBOX_VARIABLES = {
    "SCHEMAS_DIR",
    "HTTP_HOST",
    "HTTP_PORT",
    "OPERATIONS_HOST",
    "OPERATIONS_PORT",
    # The image has the client library beside the services.
    "PYTHONPATH",
}
SUPPLIERS = "SIMULATED_SUPPLIER"

each_service = pytest.mark.parametrize("service", NAMES)
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def shared_environment() -> sandbox.Environment:
    return sandbox.Environment(
        kafka_bootstrap_servers="kafka:9092",
        mongodb_uri="mongodb://mongodb:27017/?replicaSet=rs0",
        ports={each.name: [1] * len(each.ports) for each in sandbox.SERVICES},
        gateway_url="http://127.0.0.1:8080",
        secrets=dict.fromkeys([name for each in sandbox.SERVICES for name in each.secrets], "x"),
    )


def sandbox_environment(service: str) -> dict[str, str]:
    return shared_environment().for_service(sandbox.BY_NAME[service])


def routes() -> dict[str, str]:
    """Return the Caddyfile's routes: path prefix to service."""
    named = {name: paths.split() for name, paths in re.findall(r"^\t(@\w+) path (.+)$", CADDYFILE, re.MULTILINE)}
    found = {}
    for matcher, service in re.findall(r"handle (\S+) \{\n\t\timport service \{\$(\w+)_ADDRESS", CADDYFILE):
        for path in named.get(matcher, [matcher]):
            found[path.removesuffix("/*")] = service.lower()
    return found


@each_service
def test_compose_tells_a_service_what_the_sandbox_tells_it(service: str) -> None:
    in_sandbox = set(sandbox_environment(service)) - SANDBOX_VARIABLES
    in_compose = setting_names(compose.environment(service))
    assert not in_sandbox - in_compose
    additional = {"LOG_LEVEL", "SCHEMA_REGISTRY_URL", "TRUSTED_PROXIES", "RATE_LIMIT_URL"}
    openid_connect = {name for name in settings_fields(service) if name.startswith("OIDC_")}
    assert in_compose - in_sandbox <= additional | openid_connect
    assert openid_connect <= in_compose


@each_service
def test_compose_and_sandbox_have_the_issuer_and_the_database_in_common(service: str) -> None:
    environment = compose.environment(service)
    assert environment["AUTH_ISSUER"] == sandbox.ISSUER
    assert environment["MONGODB_DATABASE"] == sandbox.DATABASE


@each_service
@each_overlay
def test_a_service_in_kubernetes_is_told_what_it_needs(overlay: str, service: str) -> None:
    environment = manifests.environment(overlay, service)
    required = {name for name, field in settings_fields(service).items() if field.is_required()}
    secrets = set(sandbox.BY_NAME[service].secrets)
    assert not (required | secrets) - setting_names(environment)
    assert not {name for name in environment if name in secrets}, "secrets come as files"


@each_overlay
def test_there_is_a_place_for_the_operators_commands(overlay: str) -> None:
    environment = manifests.environment(overlay, "operator")
    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == manifests.environment(overlay, "auth")["KAFKA_BOOTSTRAP_SERVERS"]
    required = {name.upper() for name, field in CliSettings.model_fields.items() if field.is_required()}
    assert required <= setting_names(environment)


def test_who_puts_products_is_told_which_suppliers_there_are_as_fulfilment_is() -> None:
    """Otherwise products would be refused although their supplier exists, or accepted without a supplier."""
    environments_by_place = {
        "sandbox": (sandbox_environment("fulfilment"), shared_environment().for_cli()),
        "compose": (compose.environment("fulfilment"), compose.environment("init")),
        **{each: tuple(manifests.environment(each, name) for name in ("fulfilment", "operator")) for each in OVERLAYS},
    }
    suppliers = {
        where: {each.get(SUPPLIERS) for each in environments} for where, environments in environments_by_place.items()
    }
    assert suppliers == {"sandbox": {"true"}, "compose": {"true"}, "dev": {"true"}, "prod": {None}}


@each_service
def test_nobody_is_told_what_nobody_knows(service: str) -> None:
    known = all_variables()
    assert setting_names(compose.environment(service)) <= known
    for overlay in OVERLAYS:
        assert setting_names(manifests.environment(overlay, service)) <= known


@each_service
def test_only_what_a_service_knows_is_told_to_it_alone(service: str) -> None:
    for overlay in OVERLAYS:
        own = container_spec(by_kind(overlay, "Deployment")[service]).get("env", [])
        assert setting_names({variable["name"]: "" for variable in own}) <= set(settings_fields(service))


def test_compose_starts_every_service_and_nothing_else_of_ours() -> None:
    ours = {
        name: service["command"][0]
        for name, service in compose.compose()["services"].items()
        if service["image"].startswith("tillstream")
    }
    assert ours == {name: f"services.{name}" for name in NAMES} | {"init": "services", "schemas": "services"}


@each_overlay
def test_kubernetes_starts_every_service(overlay: str) -> None:
    deployments = by_kind(overlay, "Deployment")
    assert set(deployments) == {*NAMES, "operator", "valkey"}
    for name in NAMES:
        assert container_spec(deployments[name])["args"] == [f"services.{name}"]


def test_the_demo_is_the_sandboxs_own() -> None:
    init = compose.compose()["services"]["init"]
    assert init["volumes"] == ["./sandbox/demo:/demo:ro"]
    for argument in init["command"]:
        if argument.startswith("/demo/"):
            assert (REPOSITORY / "sandbox" / argument.lstrip("/")).is_file()


def test_image_compose_and_kubernetes_have_the_ports_in_common() -> None:
    for name, value in (("HTTP_PORT", API), ("OPERATIONS_PORT", OPERATIONS)):
        assert re.search(rf"\b{name}={value}\b", DOCKERFILE)
    assert all(re.search(rf"\b{name}=", DOCKERFILE) for name in IMAGE_VARIABLES)
    prometheus = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]} == {
        name: [f"{name}:{OPERATIONS}"] for name in NAMES
    }
    for overlay in OVERLAYS:
        for name in NAMES:
            ports = {
                port["name"]: port["containerPort"]
                for port in container_spec(by_kind(overlay, "Deployment")[name])["ports"]
            }
            assert ports["operations"] == OPERATIONS
            assert ports.get("api", API) == API


@each_overlay
def test_the_ingress_has_the_front_doors_table(overlay: str) -> None:
    (rule,) = by_kind(overlay, "Ingress")["gateway"]["spec"]["rules"]
    paths = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    # Caddy may route only what is below a path; the Ingress sends the bare path to the same service: 404 in both cases.
    assert paths == {path.rstrip("/") or "/": service for path, service in routes().items()}


def test_the_front_doors_table_names_services_that_exist() -> None:
    assert set(routes().values()) < set(NAMES)
    for service in set(routes().values()):
        assert f"{{${service.upper()}_ADDRESS:{service}:{API}}}" in CADDYFILE


def test_strimzi_has_every_topic_and_no_other() -> None:
    resources = {topic["spec"]["topicName"]: topic["spec"] for topic in by_kind("prod", "KafkaTopic").values()}
    assert set(resources) == set(BY_NAME)
    for topic in TOPICS:
        config = {name: str(value) for name, value in resources[topic.name]["config"].items()}
        assert config == {**topic.config, "min.insync.replicas": "2"}


@pytest.mark.parametrize("service", KAFKA_NAMES)
def test_a_services_kafka_user_may_do_what_the_list_of_topics_says_and_no_more(service: str) -> None:
    acls = by_kind("prod", "KafkaUser")[service]["spec"]["authorization"]["acls"]
    may: dict[str, set[str]] = {
        acl["resource"]["name"]: set(acl["operations"]) for acl in acls if acl["resource"]["type"] == "topic"
    }
    for topic in TOPICS:
        is_operator = service == OPERATOR
        # Operators send dead letters back, mark them, and see how much is in each topic.
        is_replayed = topic.name.endswith(".dlq") or f"{topic.name}.dlq" in {each.name for each in TOPICS}
        expected = {
            *({"Read"} if service in topic.read_by else ()),
            *({"Write"} if service in topic.written_by else ()),
            *({"Read"} if service in LAG_READERS and topic.name in UPSTREAM_TOPICS else ()),
            *({"Read", "Write"} if is_operator and is_replayed else ()),
        }
        assert may.pop(topic.name, set()) == (expected | {"Describe"} if expected or is_operator else set())
    assert not may
    assert [acl["operations"] for acl in acls if acl["resource"]["type"] == "cluster"] == [["Describe"]]
    named = [acl["resource"] for acl in acls if acl["resource"]["type"] != "cluster"]
    assert all(resource["patternType"] == "literal" for resource in named)


@pytest.mark.parametrize("service", LAG_READERS)
def test_a_service_may_ask_how_far_the_validators_have_read(service: str) -> None:
    """Otherwise no job ever expires, and no report is complete: no record may wait for the validator."""
    group = Settings.model_fields["validator_group"].default
    acls = by_kind("prod", "KafkaUser")[service]["spec"]["authorization"]["acls"]
    may = {(acl["resource"]["type"], acl["resource"].get("name")): acl["operations"] for acl in acls}
    assert may["group", group] == ["Describe"]
    assert all(may["topic", name] == ["Describe", "Read"] for name in UPSTREAM_TOPICS)


@pytest.mark.parametrize("service", KAFKA_NAMES)
def test_a_workload_shows_kafka_its_own_user(service: str) -> None:
    environment = manifests.environment("prod", service)
    assert environment["KAFKA_SASL_USERNAME"] == service
    assert environment["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    listener = by_kind("prod", "Kafka")["tillstream"]["spec"]["kafka"]["listeners"][0]
    assert environment["KAFKA_BOOTSTRAP_SERVERS"] == f"tillstream-kafka-bootstrap:{listener['port']}"


def test_there_are_never_more_consumers_than_partitions() -> None:
    topics = {topic["spec"]["topicName"]: topic["spec"] for topic in by_kind("prod", "KafkaTopic").values()}
    for scaled in by_kind("prod", "ScaledObject").values():
        read = [trigger["metadata"]["topic"] for trigger in scaled["spec"]["triggers"] if trigger["type"] == "kafka"]
        assert read
        assert scaled["spec"]["maxReplicaCount"] <= min(topics[topic]["partitions"] for topic in read)


def test_keda_looks_at_the_groups_that_there_are() -> None:
    may = by_kind("prod", "KafkaUser")["keda"]["spec"]["authorization"]["acls"]
    seen = {(acl["resource"]["type"], acl["resource"]["name"]) for acl in may}
    for name, scaled in by_kind("prod", "ScaledObject").items():
        assert scaled["spec"]["minReplicaCount"] >= 2
        for trigger in scaled["spec"]["triggers"]:
            metadata: dict[str, Any] = trigger["metadata"]
            assert all(isinstance(value, str) for value in metadata.values())
            if trigger["type"] == "kafka":
                assert metadata["consumerGroup"] == name
                bootstrap_servers = manifests.environment("prod", name)["KAFKA_BOOTSTRAP_SERVERS"]
                assert metadata["bootstrapServers"] == bootstrap_servers
                assert trigger["authenticationRef"]["name"] in by_kind("prod", "TriggerAuthentication")
                assert {("group", name), ("topic", metadata["topic"])} <= seen
                assert name in BY_NAME[metadata["topic"]].read_by


def test_keda_shows_kafka_its_own_user() -> None:
    (shown,) = by_kind("prod", "TriggerAuthentication").values()
    sources = [*shown["spec"]["configMapTargetRef"], *shown["spec"]["secretTargetRef"]]
    where = {source["parameter"]: (source["name"], source["key"]) for source in sources}
    config_map, key = where.pop("username")
    assert by_kind("prod", "ConfigMap")[config_map]["data"][key] == "keda"
    assert "keda" in by_kind("prod", "KafkaUser")
    assert where == {"password": ("keda", "password"), "ca": ("tillstream-cluster-ca-cert", "ca.crt")}


def test_brokers_take_the_largest_message_make_no_topic_and_lose_nothing_by_themselves() -> None:
    strimzi = by_kind("prod", "Kafka")["tillstream"]["spec"]["kafka"]["config"]
    brokers = {
        "sandbox": COMMON_SETTINGS,
        "strimzi": {name: str(value).lower() for name, value in strimzi.items()},
        "compose": {
            name.removeprefix("KAFKA_").lower().replace("_", "."): value
            for name, value in compose.environment("kafka").items()
        },
    }
    for where, settings in brokers.items():
        assert settings["auto.create.topics.enable"] == "false", where
        assert settings["unclean.leader.election.enable"] == "false", where
        for largest in ("message.max.bytes", "replica.fetch.max.bytes"):
            assert int(settings[largest]) >= max(topic.max_message_bytes for topic in TOPICS), where


def test_each_file_of_the_demo_keys_is_the_example() -> None:
    keys = (REPOSITORY / "deploy" / "k8s" / "overlays" / "dev" / "example-keys.env").read_text(encoding="utf-8")
    assert dict(line.split("=", 1) for line in keys.splitlines()) == compose.example_values()
