"""The rendered manifests; nothing here connects to a cluster."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
K8S = REPOSITORY / "deploy" / "k8s"
OVERLAYS = ("dev", "prod")
WORKLOADS = ("Deployment", "Job")

# The oldest release with all features used here (a preStop sleep without a shell).
KUBERNETES = "1.33"
# Kinds with custom definitions, which the offline schemas lack.
CUSTOM = ("kafka.strimzi.io/", "keda.sh/", "monitoring.coreos.com/")

Object = dict[str, Any]


def find_program(name: str) -> str:
    """Return the path of a tool beside this Python, else on PATH."""
    installed = Path(sys.executable).with_name(name)
    return str(installed) if installed.exists() else shutil.which(name) or name


@cache
def render(overlay: str) -> str:
    """Return the output of `kubectl kustomize` for an overlay, or for a directory elsewhere."""
    done = subprocess.run(
        [find_program("kubectl"), "kustomize", str(K8S / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def objects(overlay: str) -> tuple[Object, ...]:
    """Return all objects of an overlay."""
    return tuple(found for found in yaml.safe_load_all(render(overlay)) if found)


def assert_valid(overlay: str, directory: Path) -> None:
    """Fail unless Kubernetes would take the objects of an overlay; writes them to the directory."""
    known = [one for one in objects(overlay) if not one["apiVersion"].startswith(CUSTOM)]
    path = directory / "objects.yaml"
    path.write_text(yaml.safe_dump_all(known), encoding="utf-8")
    done = subprocess.run(
        [find_program("kubernetes-validate"), "-k", KUBERNETES, "--strict", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr


def by_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    """Return the objects of these kinds by name."""
    return {each["metadata"]["name"]: each for each in objects(overlay) if each["kind"] in kinds}


def pod_spec(workload: Object) -> Object:
    """Return the pod spec of a workload."""
    pod: Object = workload["spec"]["template"]["spec"]
    return pod


def container_spec(workload: Object) -> Object:
    """Return the workload's only container."""
    (container,) = pod_spec(workload)["containers"]
    found: Object = container
    return found


def environment(overlay: str, service: str) -> dict[str, str]:
    """Return the environment of a service: the shared ConfigMap, then its own variables."""
    container = container_spec(by_kind(overlay, "Deployment")[service])
    variables: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        variables |= by_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return variables | {variable["name"]: str(variable["value"]) for variable in container.get("env", ())}
