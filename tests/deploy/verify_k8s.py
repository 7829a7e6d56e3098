"""`make verify-k8s`: validates every overlay on an API server; leaves only a namespace behind."""

import subprocess
import sys
from typing import Any

import yaml

from tests.deploy.manifests import OVERLAYS, WORKLOADS, by_kind, find_program, render

NEEDED = ("kafkatopics.kafka.strimzi.io", "scaledobjects.keda.sh", "prometheusrules.monitoring.coreos.com")
DRY_RUN = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")


def kubectl(*arguments: str, sent: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl with the current cluster."""
    command = [find_program("kubectl"), "--request-timeout=20s", *arguments]
    return subprocess.run(command, input=sent, capture_output=True, text=True, check=False, timeout=300)


def unavailable_reason() -> str | None:
    """Return why verification is impossible here; None if it is possible."""
    if kubectl("version").returncode != 0:
        return "no API server: set KUBECONFIG"
    missing = [name for name in NEEDED if kubectl("get", "crd", name).returncode != 0]
    return f"the cluster lacks the definitions of {', '.join(missing)}" if missing else None


def pods(overlay: str, namespace: str) -> str:
    """Return a pod for each workload: the namespace's security level applies to pods."""
    made: list[dict[str, Any]] = []
    for name, workload in by_kind(overlay, *WORKLOADS).items():
        template = workload["spec"]["template"]
        pod = {
            "metadata": {"name": name, "namespace": namespace, **template["metadata"]},
            "spec": dict(template["spec"]),
        }
        # Service accounts do not exist in a dry run.
        pod["spec"].pop("serviceAccountName", None)
        made.append({"apiVersion": "v1", "kind": "Pod", **pod})
    return yaml.safe_dump_all(made)


def verify(overlay: str) -> bool:
    """Return whether the API server accepts every object of an overlay."""
    ((namespace, made),) = by_kind(overlay, "Namespace").items()
    # Pods are refused without this account, which a cluster creates only a moment after the namespace.
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}
    kubectl("apply", "--server-side", "-f", "-", sent=yaml.safe_dump_all([made, account]))
    good = True
    for kind, sent in (("objects", render(overlay)), ("pods", pods(overlay, namespace))):
        done = kubectl(*DRY_RUN, sent=sent)
        wrong = done.stderr.strip().splitlines()
        good = good and done.returncode == 0 and not any("would violate PodSecurity" in line for line in wrong)
        print(f"{overlay}: {len(done.stdout.splitlines())} {kind} accepted" + "".join(f"\n  {line}" for line in wrong))  # noqa: T201 - command output
    return good


def main() -> int:
    """Verify all overlays, or print why that is skipped."""
    reason = unavailable_reason()
    if reason is not None:
        print(f"skipped: {reason}")  # noqa: T201 - command output
        return 0
    # Verify all, even after a failure.
    outcomes = [verify(overlay) for overlay in OVERLAYS]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
