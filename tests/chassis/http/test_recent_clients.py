"""Which clients have sent requests lately is known without a list of all clients."""

from itertools import count, product
from math import inf

import pytest

from services.chassis.http.recent_clients import RecentClients

CLIENTS = ("first", "second", "third")


@pytest.mark.parametrize("requests", [requests for length in range(6) for requests in product(CLIENTS, repeat=length)])
def test_the_latest_request_of_others_is_that_of_a_list_of_all(requests: tuple[str, ...]) -> None:
    recent = RecentClients(clock_s=count().__next__)
    latest = dict.fromkeys(CLIENTS, -inf)
    for at_s, client_id in enumerate(requests):
        recent.record(client_id)
        latest[client_id] = at_s
    for client_id in (*CLIENTS, "silent"):
        assert recent.latest_of_others_s(client_id) == max(latest[other] for other in CLIENTS if other != client_id)
