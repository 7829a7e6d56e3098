"""Sign-in by OpenID Connect as it is switched on: by variables of compose, by a component in Kubernetes."""

import os
from pathlib import Path

import pytest
import yaml

from services.portal.settings import Settings
from tests.deploy import compose
from tests.deploy.manifests import K8S, assert_valid, by_kind, container_spec, environment, pod_spec
from tests.deploy.service_settings import setting_names, settings_fields
from tests.deploy.test_manifests import peers

KEY = "a2V5LW9mLXRoZS10ZXN0cy1vZi10aGUtcG9ydGFsISE="
GIVEN = {"OIDC_ISSUER": "https://issuer.example", "OIDC_CLIENT_ID": "portal"}
SETTINGS = {name for name in settings_fields("portal") if name.startswith("OIDC_")}


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An overlay of an operator who uses the component, with an issuer of their own."""
    directory = tmp_path_factory.mktemp("overlay")
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "tillstream",
        "resources": [os.path.relpath(K8S / "overlays" / "prod", directory)],
        "components": [os.path.relpath(K8S / "components" / "openid-connect", directory)],
        "configMapGenerator": [
            {"name": "tillstream", "behavior": "merge", "literals": [f"{key}={value}" for key, value in GIVEN.items()]}
        ],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    return str(directory)


def test_kubernetes_would_take_it(overlay: str, tmp_path: Path) -> None:
    assert_valid(overlay, tmp_path)


def test_the_portal_is_told_all_that_it_needs_and_secrets_as_files(overlay: str) -> None:
    variables = environment(overlay, "portal")
    assert GIVEN.items() <= variables.items()
    assert SETTINGS & setting_names(variables) == {*GIVEN, "OIDC_CLIENT_SECRET", "OIDC_CLIENTS"}
    assert not {"OIDC_CLIENT_SECRET", "OIDC_CLIENTS"} & variables.keys()
    deployment = by_kind(overlay, "Deployment")["portal"]
    (mounted,) = [each["secret"] for each in pod_spec(deployment)["volumes"] if each["name"] == "openid-connect"]
    (mount,) = [each for each in container_spec(deployment)["volumeMounts"] if each["name"] == "openid-connect"]
    files = {f"{mount['mountPath']}/{item['path']}" for item in mounted["items"]}
    assert files == {variables["OIDC_CLIENT_SECRET_FILE"], variables["OIDC_CLIENTS_FILE"]}
    assert mounted["secretName"] == "tillstream-openid-connect"


def test_the_portal_reaches_the_issuer_and_nobody_else_does(overlay: str) -> None:
    policies, before = by_kind(overlay, "NetworkPolicy"), by_kind("prod", "NetworkPolicy")
    assert {name for name in policies if policies[name]["spec"] != before[name]["spec"]} == {"portal"}
    assert peers(policies["portal"], "egress") - peers(before["portal"], "egress") == {("anybody", 443)}


def test_of_compose_nothing_is_set_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {name: value for name, value in compose.environment("portal").items() if name in SETTINGS}
    assert told == dict.fromkeys(SETTINGS, "")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = Settings.model_validate({"mongodb_uri": "mongodb://127.0.0.1", "portal_encryption_keys": KEY})
    assert settings.oidc_issuer is None
    assert settings.oidc_claim == "sub"
