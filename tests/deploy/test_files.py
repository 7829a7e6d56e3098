"""The Dockerfile and the compose file by themselves."""

import re
import subprocess
from ipaddress import ip_address, ip_network

import pytest
import yaml

from tests.deploy.compose import EXAMPLE, FILE, compose, environment
from tests.deploy.manifests import REPOSITORY, find_program
from tests.deploy.service_settings import NAMES

DOCKERFILE = REPOSITORY / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [find_program("hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_needs_no_name_no_root_and_no_shell() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in text
    assert "\nARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in text
    starts = [line for line in text.splitlines() if line.startswith(("RUN ", "CMD ", "ENTRYPOINT "))]
    assert all(line.split(" ", 1)[1].startswith("[") for line in starts)
    assert "--require-hashes" in text


def test_every_service_of_ours_is_locked_in_and_asked_whether_it_is_ready() -> None:
    for name in NAMES:
        service = compose()["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "/ready" in service["healthcheck"]["test"][-1]
        assert int(service["stop_grace_period"].removesuffix("s")) > 10


def test_a_consumers_name_can_be_left_out_so_that_there_may_be_several() -> None:
    text = FILE.read_text(encoding="utf-8")
    names = re.findall(r"KAFKA_GROUP_INSTANCE_ID: (.*)", text)
    assert names == [
        f"${{KAFKA_GROUP_INSTANCE_ID-{name}-1}}" for name in ("validator", "status", "fulfilment", "ledger", "webhooks")
    ]


def test_who_asks_the_registry_starts_after_our_schemas_are_in_it() -> None:
    asking = {name: service for name, service in compose()["services"].items() if "SCHEMA_REGISTRY_URL" in str(service)}
    assert set(asking) == {*NAMES, "init", "schemas"}
    for name, service in asking.items():
        first = service["depends_on"].get("karapace" if name == "schemas" else "schemas")
        assert first is not None, name


def test_who_is_told_of_another_container_is_told_of_one_that_there_is() -> None:
    services = compose()["services"]
    values = {value for name in services for value in environment(name).values()}
    named = {host for value in values for host in re.findall(r"^(?:[a-z]+://)?([a-z]+):\d+", value)}
    assert (
        named
        == {"kafka", "mongodb", "auth", "karapace", "valkey", "validator", "operator", "gateway"}
        <= services.keys()
    )


def test_what_is_mounted_is_there_and_grafana_looks_for_it_where_it_is_mounted() -> None:
    services = compose()["services"]
    mounts = {name: [volume.split(":") for volume in one.get("volumes", ())] for name, one in services.items()}
    assert all((REPOSITORY / here).exists() for each in mounts.values() for here, *_ in each if here.startswith("."))
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tillstream.yml").read_text())["providers"]
    assert ["./deploy/grafana/dashboards", provider["options"]["path"], "ro"] in mounts["grafana"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0].rpartition(':')[2]}"


@pytest.mark.parametrize("service", ["auth", "portal"])
def test_who_counts_failures_believes_the_front_door_in_any_network_that_compose_gives_it(service: str) -> None:
    """Otherwise all customers share one address, and one who guesses secrets locks out the others."""
    believed = [ip_network(each) for each in environment(service)["TRUSTED_PROXIES"].split(",")]
    for given in ("172.17.0.2", "172.31.255.2", "192.168.0.2"):
        assert any(ip_address(given) in each for each in believed), given


def test_the_image_holds_what_is_copied_into_it_and_listens_to_others() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (\S+) \S+$", text, re.MULTILINE)
    # The last two belong to the stage that compiles, which removes them.
    compiling = ["requirements-native.lock", "tools/native.py"]
    assert copied == ["requirements.lock", "services", "schemas", "clients/python/tillstream", *compiling]
    patterns = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in patterns if line.startswith("!")} == set(copied)
    assert "HTTP_HOST=0.0.0.0" in text
    assert "OPERATIONS_HOST=0.0.0.0" in text


def test_only_the_front_door_and_what_people_look_at_is_reachable_and_from_this_machine_only() -> None:
    open_ones = {name: service["ports"] for name, service in compose()["services"].items() if "ports" in service}
    assert set(open_ones) == {"gateway", "kafka", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in open_ones.values() for port in ports)


def test_the_example_names_every_variable_that_compose_knows() -> None:
    asked = set(re.findall(r"\$\{(\w+)", FILE.read_text(encoding="utf-8")))
    offered = set(re.findall(r"^#?(\w+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert asked - {"GRAFANA_PASSWORD"} == offered
