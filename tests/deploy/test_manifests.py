"""The manifests by themselves: valid, restricted, and without dangling references."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from services.fulfilment.http.body import MAX_BODY_BYTES
from services.webhooks.domain.address import describe_refusal
from tests.deploy.manifests import (
    OVERLAYS,
    REPOSITORY,
    WORKLOADS,
    Object,
    assert_valid,
    by_kind,
    container_spec,
    environment,
    objects,
    pod_spec,
    render,
)
from tests.deploy.service_settings import KAFKA_NAMES, NAMES

DRAIN_S, PAUSE_S = 10, 5
PROBES = ("startupProbe", "livenessProbe")
MIN_START_S, MIN_STALL_S = 60, 60
# Secrets that are not in the manifests: created by the operator (deploy/README.md), Strimzi or cert-manager.
EXTERNAL_SECRETS = {"tillstream-keys", "tillstream-mongodb", "tillstream-cluster-ca-cert", "tillstream-tls"}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def workloads(overlay: str) -> list[Object]:
    return list(by_kind(overlay, *WORKLOADS).values())


@each_overlay
def test_kubernetes_would_take_it(overlay: str, tmp_path: Path) -> None:
    assert_valid(overlay, tmp_path)


@each_overlay
def test_everything_has_the_overlays_namespace(overlay: str) -> None:
    (namespace,) = by_kind(overlay, "Namespace")
    assert {one["metadata"].get("namespace", namespace) for one in objects(overlay)} == {namespace}


@each_overlay
def test_the_namespace_takes_restricted_pods_only_and_ours_are(overlay: str) -> None:
    (namespace,) = by_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(overlay):
        pod, container = pod_spec(workload), container_spec(workload)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@each_overlay
def test_config_maps_and_secrets_are_there_with_their_keys(overlay: str) -> None:
    config_maps, secrets = by_kind(overlay, "ConfigMap"), by_kind(overlay, "Secret")
    users = set(by_kind(overlay, "KafkaUser"))
    for workload in workloads(overlay):
        for source in container_spec(workload).get("envFrom", ()):
            assert source["configMapRef"]["name"] in config_maps
        for volume in pod_spec(workload).get("volumes", ()):
            if "emptyDir" in volume:
                continue
            secret = volume["secret"]
            if secret["secretName"] in secrets:
                made = secrets[secret["secretName"]]
                assert {item["key"] for item in secret.get("items", ())} <= made["data"].keys()
            else:
                assert overlay == "prod"
                assert secret["secretName"] in EXTERNAL_SECRETS | users


@each_overlay
def test_each_file_that_a_variable_names_is_mounted(overlay: str) -> None:
    for name in (*NAMES, "operator"):
        deployment = by_kind(overlay, "Deployment")[name]
        volumes = {volume["name"]: volume.get("secret", {}) for volume in pod_spec(deployment).get("volumes", ())}
        mounted = {
            mount["mountPath"]: volumes[mount["name"]] for mount in container_spec(deployment).get("volumeMounts", ())
        }
        files = [value for value in environment(overlay, name).values() if value.startswith("/secrets/")]
        for file in map(Path, files):
            paths = {item["path"] for item in mounted[str(file.parent)].get("items", ())}
            assert not paths or file.name in paths


@each_overlay
def test_ports_selectors_and_targets_lead_to_pods(overlay: str) -> None:
    deployments = by_kind(overlay, "Deployment")
    for name, service in by_kind(overlay, "Service").items():
        labels = deployments[name]["spec"]["template"]["metadata"]["labels"]
        ports = {port["name"] for port in container_spec(deployments[name])["ports"]}
        assert service["spec"]["selector"].items() <= labels.items()
        assert all(port["targetPort"] == port["name"] in ports for port in service["spec"]["ports"])
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for name, one in by_kind(overlay, kind).items():
            assert one["spec"]["scaleTargetRef"]["name"] == name
            assert name in deployments
    for path in by_kind(overlay, "Ingress")["gateway"]["spec"]["rules"][0]["http"]["paths"]:
        backend = path["backend"]["service"]
        ports = by_kind(overlay, "Service")[backend["name"]]["spec"]["ports"]
        assert backend["port"]["name"] in {port["name"] for port in ports}


@each_overlay
@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_all_that_belongs_to_one(overlay: str, name: str) -> None:
    for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
        assert name in by_kind(overlay, kind), kind
    deployment = by_kind(overlay, "Deployment")[name]
    container = container_spec(deployment)
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "operations"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "operations"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert pod_spec(deployment)["terminationGracePeriodSeconds"] > DRAIN_S + PAUSE_S
    assert len(pod_spec(deployment)["topologySpreadConstraints"]) == 2


@each_overlay
def test_what_is_named_after_a_workload_is_about_its_pods(overlay: str) -> None:
    for name, workload in by_kind(overlay, *WORKLOADS).items():
        own = {"matchLabels": {"app.kubernetes.io/name": name}}
        assert own["matchLabels"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        assert by_kind(overlay, "NetworkPolicy")[name]["spec"]["podSelector"] == own
        budget = by_kind(overlay, "PodDisruptionBudget").get(name)
        assert budget is None or budget["spec"]["selector"] == own
        for spread in pod_spec(workload).get("topologySpreadConstraints", ()):
            assert spread["labelSelector"] == own


@each_overlay
@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_time_to_begin_to_stand_still_for_a_moment_and_to_leave(overlay: str, name: str) -> None:
    container = container_spec(by_kind(overlay, "Deployment")[name])
    lasts = {kind: container[kind]["periodSeconds"] * container[kind]["failureThreshold"] for kind in PROBES}
    assert container["startupProbe"]["httpGet"] == container["livenessProbe"]["httpGet"]
    assert lasts["startupProbe"] >= MIN_START_S
    assert lasts["livenessProbe"] >= MIN_STALL_S
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": PAUSE_S}}}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_scaled_by_one_thing_at_most(name: str) -> None:
    by_cpu, by_lag = by_kind("prod", "HorizontalPodAutoscaler"), by_kind("prod", "ScaledObject")
    assert (name in by_cpu) != (name in by_lag)
    assert "replicas" not in by_kind("prod", "Deployment")[name]["spec"]


@each_overlay
def test_nothing_flows_that_no_policy_names(overlay: str) -> None:
    policies = by_kind(overlay, "NetworkPolicy")
    nothing = policies["nothing"]["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in nothing
    assert "egress" not in nothing
    assert policies["names"]["spec"]["podSelector"] == nothing["podSelector"]
    for workload in workloads(overlay):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert nothing["podSelector"]["matchLabels"].items() <= labels.items()


def peers(policy: Object, way: str) -> set[tuple[str, str | int]]:
    """Return the peers that a policy names, as label and port; `anybody` if it names none."""
    found: set[tuple[str, str | int]] = set()
    for rule in policy["spec"].get(way) or ():
        names: list[str] = []
        for peer in rule.get("to" if way == "egress" else "from", ()):
            if "ipBlock" in peer:
                names.append("outside")
                continue
            selector: dict[str, Any] = peer.get("podSelector") or peer["namespaceSelector"]
            names += selector.get("matchLabels", {}).values()
            names += [value for each in selector.get("matchExpressions", ()) for value in each["values"]]
        found |= {(name, port["port"]) for name in names or ["anybody"] for port in rule["ports"]}
    return found


@each_overlay
def test_who_may_talk_to_whom_is_said_on_both_sides(overlay: str) -> None:
    policies = by_kind(overlay, "NetworkPolicy")
    allowed_out = {(one, *peer) for one in policies for peer in peers(policies[one], "egress") if peer[0] in policies}
    allowed_in = {(who, one, at) for one in policies for who, at in peers(policies[one], "ingress") if who in policies}
    assert allowed_out == allowed_in
    asking = {(name, "auth", "api") for name in ("ingest", "status", "fulfilment", "ledger", "webhooks", "operator")}
    asking |= {("ingest", "validator", "api"), ("portal", "auth", "admin"), ("portal", "operator", "api")}
    assert allowed_out == asking | {
        (name, "valkey", "valkey") for name in ("ingest", "status", "fulfilment", "ledger", "webhooks")
    }


@each_overlay
def test_everyone_reaches_the_servers_that_he_is_told_of(overlay: str) -> None:
    for name in KAFKA_NAMES:
        variables = environment(overlay, name)
        allowed = peers(by_kind(overlay, "NetworkPolicy")[name], "egress")
        port = int(variables["KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2])
        # Pods of one's own Kafka, or Strimzi's.
        assert {("kafka", port), ("tillstream", port)} <= allowed
        assert (("anybody", 27017) in allowed) == ("MONGODB_URI_FILE" in variables)


@each_overlay
def test_webhooks_reaches_endpoints_outside_only(overlay: str) -> None:
    """The process refuses what the policy excludes, and more."""
    rules = by_kind(overlay, "NetworkPolicy")["webhooks"]["spec"]["egress"]
    (blocks,) = [rule["to"] for rule in rules if any("ipBlock" in peer for peer in rule.get("to", ()))]
    excluded = [network for peer in blocks for network in peer["ipBlock"].get("except", ())]
    assert {"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(excluded)
    for network in excluded:
        assert describe_refusal(str(ip_network(network)[1])) is not None, network
    assert [name for name in NAMES if ("outside", 443) in peers(by_kind(overlay, "NetworkPolicy")[name], "egress")] == [
        "webhooks"
    ]


@each_overlay
def test_customers_and_prometheus_are_let_in_at_their_doors(overlay: str) -> None:
    (rule,) = by_kind(overlay, "Ingress")["gateway"]["spec"]["rules"]
    served = {path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    for name in NAMES:
        let_in = peers(by_kind(overlay, "NetworkPolicy")[name], "ingress")
        assert ("monitoring", "operations") in let_in
        assert (("ingress-nginx", "api") in let_in) == (name in served)


def test_prometheus_finds_every_service_under_the_name_that_rules_and_dashboards_use() -> None:
    (monitor,) = by_kind("prod", "ServiceMonitor").values()
    assert [(one["port"], one["path"]) for one in monitor["spec"]["endpoints"]] == [("operations", "/metrics")]
    for name in NAMES:
        service = by_kind("prod", "Service")[name]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == name
        assert "operations" in {port["name"] for port in service["spec"]["ports"]}


@each_overlay
def test_no_image_is_the_latest(overlay: str) -> None:
    for workload in workloads(overlay):
        name, _, tag = container_spec(workload)["image"].partition(":")
        assert name in {"tillstream", "valkey/valkey"}
        assert tag not in {"", "latest"}


def test_production_takes_no_secrets_in_query_strings_and_makes_no_codes_up() -> None:
    for name in NAMES:
        variables = environment("prod", name)
        assert variables["ALLOW_QUERY_SECRETS"] == "false"
        assert variables.get("SIMULATED_SUPPLIER", "false") == "false"


def test_production_speaks_tls_with_the_host_that_it_serves() -> None:
    gateway = by_kind("prod", "Ingress")["gateway"]["spec"]
    assert [host for tls in gateway["tls"] for host in tls["hosts"]] == [rule["host"] for rule in gateway["rules"]]
    assert {tls["secretName"] for tls in gateway["tls"]} <= EXTERNAL_SECRETS


@each_overlay
def test_the_ingress_passes_on_what_services_take_and_waits_for_no_body(overlay: str) -> None:
    annotations = by_kind(overlay, "Ingress")["gateway"]["metadata"]["annotations"]
    limit = annotations["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert limit.endswith("m")
    assert int(limit[:-1]) * 1024**2 > MAX_BODY_BYTES
    assert annotations["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"


def test_production_holds_no_secret_in_plain_sight() -> None:
    assert not by_kind("prod", "Secret")
    assert "-----BEGIN" not in render("prod")


def test_the_guide_creates_each_key_that_services_mount() -> None:
    """A pod waits for ever for a secret that lacks one."""
    mounted = {
        item["key"]
        for workload in by_kind("prod", *WORKLOADS).values()
        for volume in pod_spec(workload).get("volumes", ())
        if volume.get("secret", {}).get("secretName") == "tillstream-keys"
        for item in volume["secret"]["items"]
    }
    assert len(mounted) > 5
    guide = (REPOSITORY / "deploy" / "README.md").read_text(encoding="utf-8")
    assert not {key for key in mounted if f"--from-literal={key}=" not in guide}
