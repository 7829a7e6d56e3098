"""Wait for series, panels and alerts of a Prometheus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sandbox.dashboards import dashboards, queries
from sandbox.prometheus import Prometheus
from tests.chassis.eventually import until
from tests.e2e.background_load import BackgroundLoad
from tests.e2e.customer import Customer

TIMEOUT_S = 90
ORDERS_PER_SECOND = 4
# Values of Grafana's variables that match the fast rules.
FAST_VARIABLES = {"__rate_interval": "10s", "__range": "1m", "__interval": "1s"}


@asynccontextmanager
async def background_orders(customer: Customer) -> AsyncIterator[None]:
    """While inside, a customer sends orders at a steady rate, whatever the responses."""
    load = BackgroundLoad(customer, rate=ORDERS_PER_SECOND)
    load.tokens.append(await customer.token("import"))
    async with load:
        yield


class AlertWatch:
    """Waits until Prometheus reports something, and fails with the firing alerts after a timeout."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus

    async def holds(self, expression: str) -> bool:
        return bool(await asyncio.to_thread(self._prometheus.query, expression))

    async def wait_for(self, expression: str, *, within_s: float = TIMEOUT_S) -> None:
        """Return once the expression yields a series."""
        await self._until(lambda: self.holds(expression), expression, within_s)

    async def wait_for_panel(
        self, panel: str, *, predicate: Callable[[float], bool] = lambda value: value > 0, **labels: str
    ) -> None:
        """Return once a panel (`pipeline: Retries`) shows a value with these labels for which the predicate holds."""

        async def has_value() -> bool:
            return any(predicate(value) for value in await self._panel_values(panel, labels))

        await self._until(has_value, f"a value on {panel} {labels}")

    async def wait_for_empty_panel(self, panel: str, **labels: str) -> None:
        """Return once a panel shows no series with these labels."""

        async def is_empty() -> bool:
            return not await self._panel_values(panel, labels)

        await self._until(is_empty, f"no series on {panel} {labels}")

    async def _panel_values(self, panel: str, labels: dict[str, str]) -> list[float]:
        requests = [asyncio.to_thread(self._prometheus.query, expression) for expression in _expressions(panel)]
        found = [series for answer in await asyncio.gather(*requests) for series in answer]
        return [float(series["value"][1]) for series in found if labels.items() <= series["metric"].items()]

    async def wait_for_alert(self, alert: str, *, within_s: float = TIMEOUT_S, **labels: str) -> None:
        await self.wait_for(_firing(alert, labels), within_s=within_s)

    async def wait_for_resolved(self, alert: str, **labels: str) -> None:
        async def is_resolved() -> bool:
            return not await self.holds(_firing(alert, labels))

        await self._until(is_resolved, f"no {alert}")

    async def _until(
        self, condition: Callable[[], Awaitable[bool]], description: str, within_s: float = TIMEOUT_S
    ) -> None:
        try:
            await until(condition, deadline_s=within_s)
        except TimeoutError:
            firing = [rule["name"] for rule in self._prometheus.rules() if rule.get("state") == "firing"]
            pytest.fail(f"not within {within_s} s: {description}; firing: {firing}")


def _expressions(panel: str) -> list[str]:
    dashboard, _, title = panel.partition(": ")
    dashboard_title = dashboards()[dashboard]["title"]
    found = [
        query.expression
        for query in queries(FAST_VARIABLES)
        if (query.dashboard, query.panel) == (dashboard_title, title)
    ]
    assert found, f"there is no panel {panel}"
    return found


def _firing(alert: str, labels: dict[str, str]) -> str:
    matched = {"alertname": alert, "alertstate": "firing", **labels}
    return "ALERTS{" + ", ".join(f'{name}="{value}"' for name, value in matched.items()) + "}"
