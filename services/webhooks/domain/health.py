"""How well an endpoint works, by what came of its requests."""

from services.webhooks.domain.circuit import Circuit
from services.webhooks.domain.delivery import Outcome
from services.webhooks.domain.endpoint import Endpoint, Progress


class EndpointHealth:
    """Counts outcomes as they come back. `failing_since_us` is when the first try after the last success failed.

    `is_gone` is True once the receiver has said that it wants no more events.
    """

    def __init__(self, endpoint: Endpoint, *, min_pause_us: int) -> None:
        self.circuit = Circuit(failures=endpoint.failures, min_pause_us=min_pause_us)
        self.failing_since_us = endpoint.failing_since_us
        self.is_gone = False

    def count(self, outcome: Outcome) -> None:
        """Take an outcome into account."""
        self.is_gone = self.is_gone or outcome.is_gone
        if outcome.is_success:
            self.circuit.succeeded()
            self.failing_since_us = None
            return
        self.circuit.failed(outcome.ended_us)
        if outcome.retry_after_us:
            self.circuit.pause(outcome.ended_us + outcome.retry_after_us)
        if self.failing_since_us is None:
            self.failing_since_us = outcome.at_us

    def progress(self, position: int) -> Progress:
        """What is stored about the endpoint at this position."""
        return Progress(position, self.circuit.failures, self.failing_since_us)
