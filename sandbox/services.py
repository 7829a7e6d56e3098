"""The services that the sandbox starts, and the environment variables of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox import paths

ISSUER = "https://sandbox.tillstream.example"
DATABASE = "tillstream"
CODE_KEYS = ("CODE_ENCRYPTION_KEYS", "CODE_DIGEST_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process, `python -m services.<name>`: the names of its ports, and of the sandbox's secrets that it gets."""

    name: str
    ports: tuple[str, ...] = ("api", "operations")
    secrets: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    is_group_member: bool = False


SERVICES = (
    Service(name="auth", ports=("api", "operations", "admin"), secrets=("AUTH_KEY_ENCRYPTION_KEY",)),
    Service(name="ingest"),
    Service(name="validator", is_group_member=True),
    Service(name="status", secrets=("PAGE_TOKEN_KEY",), is_group_member=True),
    Service(
        name="fulfilment",
        secrets=("PAGE_TOKEN_KEY", *CODE_KEYS),
        settings={"SIMULATED_SUPPLIER": "true"},
        is_group_member=True,
    ),
    Service(name="ledger", secrets=("PAGE_TOKEN_KEY", "ERASURE_KEY"), is_group_member=True),
    Service(
        name="webhooks",
        secrets=("PAGE_TOKEN_KEY", "WEBHOOKS_ENCRYPTION_KEYS", "WEBHOOKS_SIGNING_KEYS"),
        settings={"WEBHOOKS_ALLOW_LOOPBACK": "true"},
        is_group_member=True,
    ),
    Service(name="operator"),
    Service(name="portal", secrets=("PORTAL_ENCRYPTION_KEYS",)),
)
BY_NAME = {service.name: service for service in SERVICES}
# The variables of each kind of port: host and number.
ENV_NAMES = {
    "api": ("HTTP_HOST", "HTTP_PORT"),
    "operations": ("OPERATIONS_HOST", "OPERATIONS_PORT"),
    "admin": ("ADMIN_HOST", "ADMIN_PORT"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the services' environments are made from: the servers, all ports by service, the gateway, the secrets."""

    kafka_bootstrap_servers: str
    mongodb_uri: str
    ports: Mapping[str, Sequence[int]]
    gateway_url: str
    secrets: Mapping[str, str]

    def shared(self) -> dict[str, str]:
        """Variables of every service and of the command line `python -m services`."""
        auth_port = self.ports["auth"][0]
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "MONGODB_URI": self.mongodb_uri,
            "MONGODB_DATABASE": DATABASE,
            "AUTH_ISSUER": ISSUER,
            "AUTH_PUBLIC_URL": self.gateway_url,
            "AUTH_JWKS_URL": f"http://127.0.0.1:{auth_port}/.well-known/jwks.json",
            "SCHEMAS_DIR": str(paths.SCHEMAS),
        }

    def for_cli(self) -> dict[str, str]:
        """Variables of `python -m services`: it encrypts codes and secrets, and knows fulfilment's suppliers.

        A broker that has just started may take long for the first record on a busy machine.
        """
        suppliers = BY_NAME["fulfilment"].settings
        return (
            self.shared()
            | dict(suppliers)
            | {name: self.secrets[name] for name in (*CODE_KEYS, "WEBHOOKS_ENCRYPTION_KEYS")}
            | {"KAFKA_SEND_TIMEOUT_S": "60"}
        )

    def for_service(self, service: Service) -> dict[str, str]:
        """Variables of one service."""
        variables = self.shared()
        for name, port in zip(service.ports, self.ports[service.name], strict=True):
            host_variable, port_variable = ENV_NAMES[name]
            variables |= {host_variable: "127.0.0.1", port_variable: str(port)}
        if service.is_group_member:
            # As a static member, a killed service gets its partitions back at once instead of after a session timeout.
            variables["KAFKA_GROUP_INSTANCE_ID"] = f"{service.name}-1"
        if service.name == "ingest":
            variables["VALIDATOR_URL"] = f"http://127.0.0.1:{self.ports['validator'][0]}"
        if service.name == "portal":
            variables |= {
                "PORTAL_URL": self.gateway_url,
                "PORTAL_API_URL": self.gateway_url,
                "PORTAL_ADMIN_URL": f"http://127.0.0.1:{self.ports['auth'][2]}",
                "PORTAL_OPERATOR_URL": f"http://127.0.0.1:{self.ports['operator'][0]}",
                "PORTAL_SPOOL_DIR": str(paths.home() / "portal-spool"),
                # The client library is a distribution of its own.
                "PYTHONPATH": str(paths.CLIENT),
            }
        return variables | dict(service.settings) | {name: self.secrets[name] for name in service.secrets}
