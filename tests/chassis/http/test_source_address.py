"""The address of a client behind proxies."""

import pytest

from services.chassis.http.source_address import parse_networks, source_address

PROXIES = parse_networks("127.0.0.0/8, ::1/128,10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4", "198.51.100.1, 10.1.1.1"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.1.1"], "10.1.1.1"),
        ("127.0.0.1", ["junk"], "127.0.0.1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_our_own_proxies_are_believed(peer: str, forwarded: list[str], seen: str) -> None:
    assert source_address(peer, forwarded, PROXIES) == seen
