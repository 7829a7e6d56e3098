"""The manifests alone: valid, restricted, and every reference leads somewhere."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.declared import NAMES
from tests.deploy.manifests import (
    OVERLAYS,
    WORKLOADS,
    Object,
    container_of,
    environment,
    objects,
    of_kind,
    pod_of,
    program,
    rendered,
)

# The oldest release that knows everything used here (a pause before SIGTERM without a shell).
KUBERNETES = "1.33"
DRAIN_S, PAUSE_S = 10, 5
# Kinds that the components bring their own definitions for, so that no offline schema knows them.
CUSTOM = ("kafka.strimzi.io/", "keda.sh/", "monitoring.coreos.com/")
# Secrets that somebody or something else makes: the operator (deploy/README.md), Strimzi, cert-manager.
MADE_ELSEWHERE = {"tillstream-keys", "tillstream-mongodb", "tillstream-cluster-ca-cert", "tillstream-tls"}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def workloads(overlay: str) -> list[Object]:
    return list(of_kind(overlay, *WORKLOADS).values())


@each_overlay
def test_kubernetes_would_take_it(overlay: str, tmp_path: Path) -> None:
    known = [one for one in objects(overlay) if not one["apiVersion"].startswith(CUSTOM)]
    path = tmp_path / f"{overlay}.yaml"
    path.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    done = subprocess.run(
        [program("kubernetes-validate"), "-k", KUBERNETES, "--strict", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr


@each_overlay
def test_everything_has_the_overlays_namespace(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    assert {one["metadata"].get("namespace", namespace) for one in objects(overlay)} == {namespace}


@each_overlay
def test_the_namespace_takes_restricted_pods_only_and_ours_are(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(overlay):
        pod, container = pod_of(workload), container_of(workload)
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
    config_maps, secrets = of_kind(overlay, "ConfigMap"), of_kind(overlay, "Secret")
    users = set(of_kind(overlay, "KafkaUser"))
    for workload in workloads(overlay):
        for source in container_of(workload).get("envFrom", ()):
            assert source["configMapRef"]["name"] in config_maps
        for volume in pod_of(workload).get("volumes", ()):
            secret = volume["secret"]
            if secret["secretName"] in secrets:
                made = secrets[secret["secretName"]]
                assert {item["key"] for item in secret.get("items", ())} <= made["data"].keys()
            else:
                assert overlay == "prod"
                assert secret["secretName"] in MADE_ELSEWHERE | users


@each_overlay
def test_each_file_that_a_variable_names_is_mounted(overlay: str) -> None:
    for name in (*NAMES, "operator"):
        deployment = of_kind(overlay, "Deployment")[name]
        volumes = {volume["name"]: volume["secret"] for volume in pod_of(deployment).get("volumes", ())}
        mounted = {
            mount["mountPath"]: volumes[mount["name"]] for mount in container_of(deployment).get("volumeMounts", ())
        }
        files = [value for value in environment(overlay, name).values() if value.startswith("/secrets/")]
        for file in map(Path, files):
            paths = {item["path"] for item in mounted[str(file.parent)].get("items", ())}
            assert not paths or file.name in paths


@each_overlay
def test_ports_selectors_and_targets_lead_to_pods(overlay: str) -> None:
    deployments = of_kind(overlay, "Deployment")
    for name, service in of_kind(overlay, "Service").items():
        labels = deployments[name]["spec"]["template"]["metadata"]["labels"]
        ports = {port["name"] for port in container_of(deployments[name])["ports"]}
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for one in of_kind(overlay, kind).values():
            selector = one["spec"].get("selector") or one["spec"]["podSelector"]
            templates = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads(overlay)]
            assert any(selector["matchLabels"].items() <= labels.items() for labels in templates)
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for one in of_kind(overlay, kind).values():
            assert one["spec"]["scaleTargetRef"]["name"] in deployments
    for path in of_kind(overlay, "Ingress")["front"]["spec"]["rules"][0]["http"]["paths"]:
        backend = path["backend"]["service"]
        ports = of_kind(overlay, "Service")[backend["name"]]["spec"]["ports"]
        assert backend["port"]["name"] in {port["name"] for port in ports}


@each_overlay
@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_all_that_belongs_to_one(overlay: str, name: str) -> None:
    for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"):
        assert name in of_kind(overlay, kind), kind
    deployment = of_kind(overlay, "Deployment")[name]
    container = container_of(deployment)
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "operations"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "operations"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > DRAIN_S + PAUSE_S
    assert len(pod_of(deployment)["topologySpreadConstraints"]) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_scaled_by_one_thing_at_most(name: str) -> None:
    by_cpu, by_lag = of_kind("prod", "HorizontalPodAutoscaler"), of_kind("prod", "ScaledObject")
    assert (name in by_cpu) != (name in by_lag)
    assert "replicas" not in of_kind("prod", "Deployment")[name]["spec"]


@each_overlay
def test_nothing_flows_that_no_policy_names(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    nothing = policies["nothing"]["spec"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in nothing
    assert "egress" not in nothing
    for workload in workloads(overlay):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert nothing["podSelector"]["matchLabels"].items() <= labels.items()


@each_overlay
def test_who_may_talk_to_whom_is_said_on_both_sides(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")

    def peers(name: str, way: str, side: str) -> set[str]:
        found: set[str] = set()
        for rule in policies[name]["spec"].get(way) or ():
            for peer in rule.get(side, ()):
                selector: dict[str, Any] = peer.get("podSelector", {})
                found |= {selector.get("matchLabels", {}).get("app.kubernetes.io/name", "")}
                found |= {value for each in selector.get("matchExpressions", ()) for value in each["values"]}
        return found - {""}

    told = {(one, other) for one in policies for other in peers(one, "egress", "to") if other in policies}
    heard = {(other, one) for one in policies for other in peers(one, "ingress", "from") if other in policies}
    assert told == heard
    assert told == {("ingest", "auth"), ("status", "auth"), ("fulfilment", "auth"), ("ingest", "valkey")}


@each_overlay
def test_no_image_is_the_latest(overlay: str) -> None:
    for workload in workloads(overlay):
        name, _, tag = container_of(workload)["image"].partition(":")
        assert name in {"tillstream", "valkey/valkey"}
        assert tag not in {"", "latest"}


def test_production_takes_no_secrets_in_query_strings_and_makes_no_codes_up() -> None:
    for name in NAMES:
        told = environment("prod", name)
        assert told["ALLOW_QUERY_SECRETS"] == "false"
        assert told.get("SIMULATED_SUPPLIER", "false") == "false"


def test_production_holds_no_secret_in_plain_sight() -> None:
    assert not of_kind("prod", "Secret")
    assert "-----BEGIN" not in rendered("prod")
