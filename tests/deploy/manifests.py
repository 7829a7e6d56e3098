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

Object = dict[str, Any]


def find_program(name: str) -> str:
    """Return the path of a tool beside this Python, else on PATH."""
    installed = Path(sys.executable).with_name(name)
    return str(installed) if installed.exists() else shutil.which(name) or name


@cache
def render(overlay: str) -> str:
    """Return the output of `kubectl kustomize` for an overlay."""
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
