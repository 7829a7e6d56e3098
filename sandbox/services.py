"""Which services the sandbox starts, and what each of them is told."""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox import places

ISSUER = "https://sandbox.tillstream.example"
DATABASE = "tillstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process: `python -m services.<name>`. `secrets` are the keys it needs of the sandbox's."""

    name: str
    secrets: tuple[str, ...] = ()
    group_member: bool = False


SERVICES = (
    Service(name="auth", secrets=("AUTH_KEY_ENCRYPTION_KEY",)),
    Service(name="ingest"),
    Service(name="validator", group_member=True),
    Service(name="status", secrets=("PAGE_TOKEN_KEY",), group_member=True),
)
BY_NAME = {service.name: service for service in SERVICES}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What services have in common: the servers, everybody's ports (API, operations), the front door, the keys."""

    kafka_bootstrap_servers: str
    mongodb_uri: str
    ports: Mapping[str, tuple[int, int]]
    front_door: str
    secrets: Mapping[str, str]

    def shared_environment(self) -> dict[str, str]:
        """What every service is told, and the operator's command too."""
        auth_port, _ = self.ports["auth"]
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            "MONGODB_URI": self.mongodb_uri,
            "MONGODB_DATABASE": DATABASE,
            "AUTH_ISSUER": ISSUER,
            "AUTH_PUBLIC_URL": self.front_door,
            "AUTH_JWKS_URL": f"http://127.0.0.1:{auth_port}/.well-known/jwks.json",
            "SCHEMAS_DIR": str(places.SCHEMAS),
        }

    def environment(self, service: Service) -> dict[str, str]:
        """Everything one service is told."""
        api_port, operations_port = self.ports[service.name]
        told = self.shared_environment() | {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(api_port),
            "OPERATIONS_HOST": "127.0.0.1",
            "OPERATIONS_PORT": str(operations_port),
        }
        if service.group_member:
            # A killed service takes its partitions back at once instead of waiting until its old self is given up.
            told["KAFKA_GROUP_INSTANCE_ID"] = f"{service.name}-1"
        return told | {name: self.secrets[name] for name in service.secrets}
