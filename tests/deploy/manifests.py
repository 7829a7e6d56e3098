"""The manifests, rendered and read; nothing here talks to a cluster."""

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
    """A tool beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


@cache
def render(overlay: str) -> str:
    """What `kubectl kustomize` makes of an overlay."""
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
    """Every object of an overlay."""
    return tuple(found for found in yaml.safe_load_all(render(overlay)) if found)


def by_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    """The objects of these kinds, by name."""
    return {one["metadata"]["name"]: one for one in objects(overlay) if one["kind"] in kinds}


def pod_spec(workload: Object) -> Object:
    """The pod that a workload makes."""
    pod: Object = workload["spec"]["template"]["spec"]
    return pod


def container_spec(workload: Object) -> Object:
    """Its only container."""
    (container,) = pod_spec(workload)["containers"]
    found: Object = container
    return found


def environment(overlay: str, service: str) -> dict[str, str]:
    """Everything that a service is told: the shared ConfigMap, then its own variables."""
    container = container_spec(by_kind(overlay, "Deployment")[service])
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        told |= by_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return told | {variable["name"]: str(variable["value"]) for variable in container.get("env", ())}
