"""A whole installation whose every connection goes through a fault proxy."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from sandbox import paths
from sandbox.kafka import Broker
from sandbox.layout import Layout
from sandbox.mongo import Mongod
from sandbox.ports import free_ports
from sandbox.process import ManagedProcess, Program
from sandbox.services import BY_NAME, SERVICES, Environment
from tests.chassis.eventually import until
from tests.faults.stack.disks import Disks
from tests.faults.stack.replica import Replica
from tests.faults.stack.servers import WiredKafka, WiredMongo
from tests.faults.stack.tenants import Tenant, catalogue_document, tenants_document
from tests.faults.wire.proxy import Proxy

START_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 60.0
SETTINGS = {
    "FULFILMENT_ORDERS_PER_SECOND": "1000",
    "FULFILMENT_READS_PER_SECOND": "1000",
    "STATUS_REQUESTS_PER_SECOND": "1000",
    "WEBHOOKS_REQUESTS_PER_SECOND": "1000",
    "LEDGER_REQUESTS_PER_SECOND": "1000",
    "AUTH_JWKS_REFRESH_S": "5",
    "KAFKA_SESSION_TIMEOUT_MS": "6000",
    "TOPIC_PARTITIONS": "3",
}
# One process of each; the campaign has more of some.
ONE_OF_EACH: Mapping[str, int] = {service.name: 1 for service in SERVICES}


@dataclass
class Installation:
    """Servers, services and the proxies before them."""

    directory: Path
    tenants: Sequence[Tenant]
    nodes: int = 1
    counts: Mapping[str, int] = field(default_factory=lambda: dict(ONE_OF_EACH))
    settings: Mapping[str, str] = field(default_factory=dict)
    # Whether servers have disks of their own, which can fail (`disks.why_not` says why they have none).
    has_disks: bool = False
    disks: Disks = field(init=False)
    kafka: WiredKafka = field(init=False)
    mongodb: WiredMongo = field(init=False)
    replicas: dict[str, Replica] = field(init=False)
    session: aiohttp.ClientSession = field(init=False)

    def __post_init__(self) -> None:
        self._layout = Layout(self.directory)
        self._layout.create()
        # Ports that nothing listens on yet would be found free again by the next search: one search for all.
        services = {name: len(service.ports) for name, service in BY_NAME.items()}
        own = sum((services[kind] + 1) * count for kind, count in self.counts.items())
        chosen = iter(free_ports(8 * self.nodes + own + sum(services.values())))
        self.kafka = WiredKafka(self._layout.kafka, nodes=self.nodes, ports=chosen)
        self.mongodb = WiredMongo(self._layout.mongodb, nodes=self.nodes, ports=chosen)
        ports = {
            name: [next(chosen) for _ in range(count * self.counts.get(name, 1))] for name, count in services.items()
        }
        first = {name: some[: len(BY_NAME[name].ports)] for name, some in ports.items()}
        self._environment = Environment(
            kafka_bootstrap_servers=self.kafka.wired_bootstrap_servers,
            mongodb_uri=self.mongodb.uri,
            ports=first,
            gateway_url="http://127.0.0.1:1",
            secrets=self._layout.secrets(),
        )
        self._settings = {**SETTINGS, "TOPIC_REPLICATION_FACTOR": str(self.nodes), **self.settings}
        self._settings.setdefault("TOPIC_MIN_INSYNC_REPLICAS", str(min(self.nodes, 2)))
        self.replicas = {each.name: each for each in self._replicas(ports, chosen)}
        self.disks = Disks(self.directory, why_not="none were wanted")

    def _replicas(self, ports: Mapping[str, Sequence[int]], chosen: Iterator[int]) -> Iterator[Replica]:
        proxies = {kind: [next(chosen) for _ in range(count)] for kind, count in self.counts.items()}
        signing_keys = f"http://127.0.0.1:{proxies['auth'][0]}/.well-known/jwks.json"
        for kind, count in self.counts.items():
            service = BY_NAME[kind]
            for number in range(count):
                own = ports[kind][number * len(service.ports) :][: len(service.ports)]
                environment = replace(self._environment, ports={**self._environment.ports, kind: own})
                variables = {**environment.for_service(service), **self._settings, "AUTH_JWKS_URL": signing_keys}
                if service.is_group_member:
                    # Of several, each joins as a new member, so that they rebalance.
                    variables["KAFKA_GROUP_INSTANCE_ID"] = "" if count > 1 else f"{kind}-1"
                proxy = Proxy(proxies[kind][number], own[0], name=f"{kind}-{number + 1}")
                log = self._layout.log(f"{kind}-{number + 1}")
                yield Replica(kind, number + 1, proxy, own[1], variables, log)

    @property
    def proxies(self) -> Sequence[Proxy]:
        """All proxies."""
        brokers = [proxy for wires in self.kafka.wires for proxy in (wires.clients, wires.brokers)]
        return [*brokers, *self.mongodb.wires, *(each.proxy for each in self.replicas.values())]

    @property
    def servers(self) -> Sequence[Broker | Mongod]:
        """All processes of Kafka and MongoDB."""
        return [*self.kafka.brokers, *self.mongodb.members]

    def of(self, kind: str) -> Sequence[Replica]:
        """The replicas of a service."""
        return [replica for replica in self.replicas.values() if replica.kind == kind]

    async def start(self) -> None:
        """Start everything and wait until it is ready."""
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        for proxy in self.proxies:
            await proxy.start()
        if self.has_disks:
            self.disks.mount(self.servers)
        self.kafka.launch()
        self.mongodb.launch()
        await self._until_servers_are_ready()
        await self._init()
        for replica in self.replicas.values():
            replica.launch()
        await self.until_ready()

    async def stop(self) -> None:
        """Stop everything."""
        for replica in self.replicas.values():
            replica.process.terminate()
        for replica in self.replicas.values():
            await asyncio.to_thread(replica.process.stop)
        for server in self.servers:
            server.resume()
            server.kill()
        self.disks.unmount()
        for proxy in self.proxies:
            await proxy.stop()
        await self.session.close()

    async def heal(self) -> None:
        """End all faults, start what is down, and wait until everything is ready."""
        for proxy in self.proxies:
            proxy.heal()
        self.disks.free()
        for process in (*self.servers, *(each.process for each in self.replicas.values())):
            process.resume()
        for server in self.servers:
            if not server.is_running:
                server.launch()
        await self._until_servers_are_ready()
        for replica in self.replicas.values():
            if not replica.process.is_running:
                replica.launch()
        await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until all services are ready. Raises `TimeoutError`, and `NotReadyError` if one has exited."""
        await until(self._all_ready, deadline_s=START_TIMEOUT_S)

    async def _all_ready(self) -> bool:
        for replica in self.replicas.values():
            replica.process.assert_running()
        states = await asyncio.gather(*(each.is_ready(self.session) for each in self.replicas.values()))
        if not all(states):
            # The services need the processor more than this question does.
            await asyncio.sleep(0.2)
        return all(states)

    async def _until_servers_are_ready(self) -> None:
        for group in (self.kafka, self.mongodb):
            await until(_in_thread(group.is_ready), deadline_s=START_TIMEOUT_S)

    async def _init(self) -> None:
        tenants, catalogue = self.directory / "tenants.json", self.directory / "catalogue.csv"
        tenants.write_text(tenants_document(self.tenants))
        catalogue.write_text(catalogue_document(self.tenants))
        done = await self.run_cli("init", "--tenants", str(tenants), "--catalogue", str(catalogue))
        assert done == 0, (self.directory / "logs" / "cli.log").read_text()[-3000:]

    async def run_cli(self, *arguments: str) -> int | None:
        """Run `python -m services …` and return its exit code; it writes to `cli.log`."""
        program = Program(
            name="cli",
            command=[sys.executable, "-m", "services", *arguments],
            log=self._layout.log("cli"),
            environment={**self._environment.for_cli(), **self._settings},
            directory=paths.REPOSITORY,
        )
        process = ManagedProcess(program)
        process.launch()
        try:
            await until(lambda: not process.is_running, deadline_s=COMMAND_TIMEOUT_S)
        finally:
            process.kill()
        return process.exit_code


def _in_thread(function: Callable[[], bool]) -> Callable[[], "asyncio.Future[bool]"]:
    """Call it in a thread: the proxies must go on meanwhile."""
    return lambda: asyncio.ensure_future(asyncio.to_thread(function))


@asynccontextmanager
async def running(installation: Installation) -> AsyncIterator[Installation]:
    """Start it, and stop it at the end, whatever happens."""
    try:
        await installation.start()
        yield installation
    finally:
        await installation.stop()
