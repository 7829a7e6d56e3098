"""Which services the sandbox starts, and what each of them is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox import paths

ISSUER = "https://sandbox.tillstream.example"
DATABASE = "tillstream"
CODE_KEYS = ("CODE_ENCRYPTION_KEYS", "CODE_DIGEST_KEY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process: `python -m services.<name>`, listening at its `doors`. `secrets` are the sandbox's keys it needs."""

    name: str
    doors: tuple[str, ...] = ("api", "operations")
    secrets: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    group_member: bool = False


SERVICES = (
    Service(name="auth", doors=("api", "operations", "admin"), secrets=("AUTH_KEY_ENCRYPTION_KEY",)),
    Service(name="ingest"),
    Service(name="validator", group_member=True),
    Service(name="status", secrets=("PAGE_TOKEN_KEY",), group_member=True),
    Service(
        name="fulfilment",
        secrets=("PAGE_TOKEN_KEY", *CODE_KEYS),
        settings={"SIMULATED_SUPPLIER": "true"},
        group_member=True,
    ),
)
BY_NAME = {service.name: service for service in SERVICES}
# What a service is told of each of its doors.
TOLD = {
    "api": ("HTTP_HOST", "HTTP_PORT"),
    "operations": ("OPERATIONS_HOST", "OPERATIONS_PORT"),
    "admin": ("ADMIN_HOST", "ADMIN_PORT"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What services have in common: the servers, everybody's ports (one for each door), the front door, the keys."""

    kafka_bootstrap_servers: str
    mongodb_uri: str
    ports: Mapping[str, Sequence[int]]
    front_door: str
    secrets: Mapping[str, str]

    def shared_environment(self) -> dict[str, str]:
        """What every service is told, and the operator's command too."""
        auth_port = self.ports["auth"][0]
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "MONGODB_URI": self.mongodb_uri,
            "MONGODB_DATABASE": DATABASE,
            "AUTH_ISSUER": ISSUER,
            "AUTH_PUBLIC_URL": self.front_door,
            "AUTH_JWKS_URL": f"http://127.0.0.1:{auth_port}/.well-known/jwks.json",
            "SCHEMAS_DIR": str(paths.SCHEMAS),
        }

    def operators_environment(self) -> dict[str, str]:
        """Everything the operator's command is told: it seals codes, too, and knows fulfilment's suppliers."""
        suppliers = BY_NAME["fulfilment"].settings
        return self.shared_environment() | dict(suppliers) | {name: self.secrets[name] for name in CODE_KEYS}

    def environment(self, service: Service) -> dict[str, str]:
        """Everything one service is told."""
        told = self.shared_environment()
        for door, port in zip(service.doors, self.ports[service.name], strict=True):
            host_variable, port_variable = TOLD[door]
            told |= {host_variable: "127.0.0.1", port_variable: str(port)}
        if service.group_member:
            # A killed service takes its partitions back at once instead of waiting until its old self is given up.
            told["KAFKA_GROUP_INSTANCE_ID"] = f"{service.name}-1"
        return told | dict(service.settings) | {name: self.secrets[name] for name in service.secrets}
