"""Waiting for what Prometheus sees while something is broken."""

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
# What Grafana fills in, as impatient as the rules.
FAST_VARIABLES = {"__rate_interval": "10s", "__range": "1m", "__interval": "1s"}


@asynccontextmanager
async def background_orders(customer: Customer) -> AsyncIterator[None]:
    """Inside, customers send orders all the time, whatever they are answered."""
    steady = BackgroundLoad(customer, rate=ORDERS_PER_SECOND)
    steady.tokens.append(await customer.token("import"))
    async with steady:
        yield


class AlertWatch:
    """Waits for what Prometheus sees."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus

    async def holds(self, expression: str) -> bool:
        return bool(await asyncio.to_thread(self._prometheus.query, expression))

    async def wait_for(self, expression: str, *, within_s: float = TIMEOUT_S) -> None:
        """Return once the expression yields something."""
        await self._until(lambda: self.holds(expression), expression, within_s)

    async def wait_for_panel(
        self, panel: str, *, predicate: Callable[[float], bool] = lambda value: value > 0, **labels: str
    ) -> None:
        """Return once a panel (`pipeline: Retries`) shows such a number, one above zero, with these labels."""

        async def is_shown() -> bool:
            return any(predicate(value) for value in await self._panel_values(panel, labels))

        await self._until(is_shown, f"such a number on {panel} {labels}")

    async def wait_for_empty_panel(self, panel: str, **labels: str) -> None:
        """Return once a panel shows nothing at all with these labels."""

        async def is_gone() -> bool:
            return not await self._panel_values(panel, labels)

        await self._until(is_gone, f"no line on {panel} {labels}")

    async def _panel_values(self, panel: str, labels: dict[str, str]) -> list[float]:
        asked = [asyncio.to_thread(self._prometheus.query, expression) for expression in _expressions(panel)]
        found = [series for answer in await asyncio.gather(*asked) for series in answer]
        return [float(series["value"][1]) for series in found if labels.items() <= series["metric"].items()]

    async def wait_for_alert(self, alert: str, *, within_s: float = TIMEOUT_S, **labels: str) -> None:
        await self.wait_for(_firing(alert, labels), within_s=within_s)

    async def wait_for_resolved(self, alert: str, **labels: str) -> None:
        async def is_calm() -> bool:
            return not await self.holds(_firing(alert, labels))

        await self._until(is_calm, f"no {alert}")

    async def _until(self, condition: Callable[[], Awaitable[bool]], what: str, within_s: float = TIMEOUT_S) -> None:
        try:
            await until(condition, deadline_s=within_s)
        except TimeoutError:
            firing = [rule["name"] for rule in self._prometheus.rules() if rule.get("state") == "firing"]
            pytest.fail(f"not within {within_s} s: {what}; firing: {firing}")


def _expressions(panel: str) -> list[str]:
    dashboard, _, title = panel.partition(": ")
    on = dashboards()[dashboard]["title"]
    found = [query.expression for query in queries(FAST_VARIABLES) if (query.dashboard, query.panel) == (on, title)]
    assert found, f"there is no panel {panel}"
    return found


def _firing(alert: str, labels: dict[str, str]) -> str:
    matched = {"alertname": alert, "alertstate": "firing", **labels}
    return "ALERTS{" + ", ".join(f'{name}="{value}"' for name, value in matched.items()) + "}"
