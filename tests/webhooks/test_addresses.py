"""Where endpoints may not be: each address refused when it is dialled, and told why."""

import socket
from typing import Any

import pytest

from services.webhooks.domain.address import describe_refusal
from services.webhooks.domain.target_url import describe_invalid_url
from tests.webhooks.transport_harness import Addresses, Receiver, a_transport, post, receiver

__all__ = ["receiver"]

REFUSED = {
    "127.0.0.1": "a loopback address",
    "127.255.255.254": "a loopback address",
    "::1": "a loopback address",
    "0.0.0.0": "the unspecified address",
    "::": "the unspecified address",
    "10.0.0.1": "a private address",
    "172.16.5.4": "a private address",
    "192.168.1.1": "a private address",
    "fd00::1": "a private address",
    "169.254.169.254": "a link-local address",
    "fe80::1": "a link-local address",
    "fd00:ec2::254": "a private address",
    "::ffff:127.0.0.1": "an IPv4-mapped address",
    "::ffff:169.254.169.254": "an IPv4-mapped address",
    "::ffff:93.184.216.34": "an IPv4-mapped address",
    "64:ff9b::7f00:1": "a NAT64 address",
    "64:ff9b::169.254.169.254": "a NAT64 address",
    "64:ff9b:1::a00:1": "a NAT64 address",
    "2002:7f00:1::": "a 6to4 address",
    "2002:a9fe:a9fe::1": "a 6to4 address",
    "192.88.99.1": "a 6to4 relay",
    "2001:0:53aa:64c:0:0:0:1": "a Teredo address",
    "224.0.0.1": "a multicast address",
    "239.255.255.250": "a multicast address",
    "ff02::1": "a multicast address",
    "ff0e::1": "a multicast address",
    "100.64.0.1": "a reserved address",
    "198.18.0.1": "a private address",
    "192.0.2.1": "a private address",
    "203.0.113.9": "a private address",
    "240.0.0.1": "a private address",
    "255.255.255.255": "a private address",
    "2001:db8::1": "a reserved address",
    "3fff::1": "a reserved address",
    "fec0::1": "a reserved address",
    "::127.0.0.1": "a reserved address",
    "5f00::1": "a reserved address",
}
ADMITTED = ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e")


@pytest.mark.parametrize(("address", "reason"), REFUSED.items())
def test_an_address_inside_is_refused(address: str, reason: str) -> None:
    assert describe_refusal(address) == reason


@pytest.mark.parametrize("address", ADMITTED)
def test_an_address_outside_is_admitted(address: str) -> None:
    assert describe_refusal(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_is_admitted_by_setting(address: str) -> None:
    assert describe_refusal(address, allow_loopback=True) is None
    assert describe_refusal("10.0.0.1", allow_loopback=True) is not None


@pytest.mark.parametrize(("address", "reason"), REFUSED.items())
async def test_a_name_that_leads_inside_is_refused_when_it_is_dialled(address: str, reason: str) -> None:
    async with a_transport([address]) as transport:
        outcome = await post(transport)
    assert outcome.error == f"refused: refused to connect to {reason}"


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]"])
async def test_a_literal_address_is_refused_when_it_is_dialled(address: str) -> None:
    """It asks no resolver, and had been admitted by mistake."""
    async with a_transport() as transport:
        outcome = await post(transport, f"https://{address}/")
    assert (outcome.error or "").startswith("refused: ")


@pytest.mark.parametrize(
    "spelling",
    [
        *("2130706433", "0177.0.0.1", "0x7f000001", "127.1", "0x7f.1", "0177.1", "0", "0x0"),
        *("localhost", "localhost.", "LOCALHOST", "127.0.0.1.", "127\u30020\u30020\u30021", "[::ffff:7f00:1]"),
    ],
)
async def test_other_spellings_are_refused_when_they_are_dialled(spelling: str) -> None:
    """The system's resolver reads them as 127.0.0.1, or does not know them."""
    async with a_transport() as transport:
        outcome = await post(transport, f"https://{spelling}/")
    assert outcome.status is None
    assert (outcome.error or "").partition(":")[0] in {"refused", "dns"}


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1", "192.168.0.1"], ["127.0.0.1", "::1"], ["::1", "10.0.0.1", "fd00::1"]]
)
async def test_every_address_of_a_name_is_judged(addresses: Addresses) -> None:
    async with a_transport(addresses) as transport:
        outcome = await post(transport)
    assert (outcome.error or "").startswith("refused: ")


async def test_of_several_addresses_those_inside_are_not_dialled(receiver: Receiver) -> None:
    """Breaks: the first address is inside, the second is allowed. Must hold: only the second is dialled."""
    async with a_transport(["10.255.255.1", "127.0.0.1"], allow_loopback=True) as transport:
        outcome = await post(transport, f"http://shop.example:{receiver.port}/ok")
    assert outcome.status == 200


async def test_a_name_that_is_another_name_of_something_inside(receiver: Receiver) -> None:
    """A CNAME: the resolver follows it, and the address at its end is judged. A connection that is open is not."""

    def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "metadata.inside.example", ("169.254.169.254", port))]

    async with a_transport(allow_loopback=True, getaddrinfo=getaddrinfo) as transport:
        outcome = await post(transport, f"http://shop.example:{receiver.port}/ok")
    assert outcome.error == "refused: refused to connect to a link-local address"
    assert receiver.visited == []


async def test_a_name_that_changes_between_two_look_ups_is_judged_again(receiver: Receiver) -> None:
    """DNS rebinding: what counts is the address that is dialled."""
    url = f"http://shop.example:{receiver.port}/close"
    async with a_transport(["127.0.0.1"], ["10.0.0.1"], allow_loopback=True) as transport:
        first = await post(transport, url)
        assert transport._session is not None
        connector: Any = transport._session.connector
        connector.clear_dns_cache()
        second = await post(transport, url)
    assert (first.status, second.error) == (200, "refused: refused to connect to a private address")


@pytest.mark.parametrize(
    ("url", "phrase"),
    [
        ("https://shop.example/hooks", None),
        ("https://shop.example:8443/hooks?x=1", None),
        ("https://93.184.216.34/", None),
        ("https://[2606:4700:4700::1111]/", None),
        ("http://shop.example/", "must be an https URL"),
        ("ftp://shop.example/", "must be an https URL"),
        ("//shop.example/", "must be an https URL"),
        ("shop.example", "must be an https URL"),
        ("https:///x", "is not a URL|must have a host"),
        ("https://user@shop.example/", "must not contain a user or a password"),
        ("https://user:pw@shop.example/", "must not contain a user or a password"),
        ("https://@shop.example/", "must not contain a user or a password"),
        ("https://shop.example/#x", "must not contain a fragment"),
        ("https://shop.example:80/", "must have port 443 or 8443"),
        ("https://shop.example:22/", "must have port 443 or 8443"),
        ("https://shop.example:99999/", "is not a URL"),
        ("https://shop.example\\@10.0.0.1/", "must not contain spaces"),
        ("https://shop.example/ x", "must not contain spaces"),
        ("https://shop.example/\n", "must not contain spaces"),
        ("https://127.0.0.1/", "must not have a loopback address"),
        ("https://[::ffff:127.0.0.1]/x", "must not have an IPv4-mapped address"),
        ("https://169.254.169.254/latest", "must not have a link-local address"),
        ("https://2130706433/", "must have a public host name"),
        ("https://0x7f000001/", "must have a public host name"),
        ("https://0177.0.0.1/", "must have a public host name"),
        ("https://127.1/", "must have a public host name"),
        ("https://127.0.0.1./", "must not have a loopback address"),
        ("https://0x7f.1/", "must have a public host name"),
        ("https://0177.1/", "must have a public host name"),
        ("https://1.2.3/", "must have a public host name"),
        ("https://0/", "must have a public host name"),
        ("https://a.b.0x7f/", "must have a public host name"),
        ("https://%31%32%37.0.0.1/", "must have a public host name"),
        ("http://127.1/", "must be an https URL"),
        ("https://[::ffff:7f00:1]/", "must not have an IPv4-mapped address"),
        ("https://[::ffff:a9fe:a9fe]/", "must not have an IPv4-mapped address"),
        ("https://[64:ff9b::7f00:1]/", "must not have a NAT64 address"),
        ("https://[::127.0.0.1]/", "must not have a reserved address"),
        ("https://[::]/", "must not have the unspecified address"),
        ("https://0.0.0.0/", "must not have the unspecified address"),
        ("https://[fe80::1%25eth0]/", "must have a public host name|must not have a link-local address"),
        ("https://[2606:4700::1%25eth0]/", "must have a public host name"),
        ("https://169.254.169.254./", "must not have a link-local address"),
        # Dots and digits of other scripts become ordinary ones.
        ("https://shop\u3002example/", None),
        ("https://127\u30020\u30020\u30021/", "must not have a loopback address"),
        ("https://\uff11\uff12\uff17.0.0.1/", "must not have a loopback address"),
        ("https://\u2460\u2461\u2466.0.0.1/", "must not have a loopback address"),
        ("https://\u00ad127.0.0.1/", "is not a URL"),
        ("https://\uff4cocalhost/", "must not have a loopback address"),
        ("https://localhost/", "must not have a loopback address"),
        ("https://localhost./", "must not have a loopback address"),
        ("https://LOCALHOST/", "must not have a loopback address"),
        ("https://x.localhost/", "must not have a loopback address"),
        ("https://intranet/", "must have a public host name"),
        ("https://shop.example./", None),
        ("https://shop.example../", "must have a public host name"),
        ("https://.example/", "must have a public host name"),
        ("https://a..b/", "must have a public host name"),
        ("https://shop.example%00/", "must have a public host name"),
        ("https://shop.example%2f@10.0.0.1/", "must not contain a user or a password"),
        ("https://user%40shop.example/", "must have a public host name"),
        ("https://[v1.x]/", "must have a public host name"),
        ("https://" + "a" * 63 + ".example/", None),
        ("https://" + "a" * 64 + ".example/", "must have a public host name|is not a URL"),
        ("https://" + ".".join(["a" * 60] * 5) + "/", "must have a public host name|is not a URL"),
        ("https://shop.example:0/", "must have port 443 or 8443"),
        ("https://shop.example:443:443/", "is not a URL"),
        ("https://shop.example:-443/", "is not a URL"),
        ("https://shop.example/#", "must not contain a fragment"),
        ("https://shop.example/\r\nHost: inside", "must not contain spaces"),
        ("https://shop.example\t/", "must not contain spaces"),
        ("https:/shop.example/", "must have a host"),
        ("https:shop.example", "must have a host"),
        ("HTTPS://SHOP.EXAMPLE/", None),
        ("https://shop.example/a@b?c=d@e", None),
        ("https://" + "x" * 2_100, "must have at most 2048 characters"),
    ],
)
def test_the_url_of_an_endpoint(url: str, phrase: str | None) -> None:
    fault = describe_invalid_url(url)
    assert (fault is None) == (phrase is None), fault
    assert phrase is None or any((fault or "").startswith(each) for each in phrase.split("|"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost:1/x", "https://[::1]:9/"])
def test_loopback_urls_are_admitted_by_setting(url: str) -> None:
    assert describe_invalid_url(url) is not None
    assert describe_invalid_url(url, allow_loopback=True) is None


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://shop.example/", "https://10.0.0.1/", "https://2130706433/"]
)
def test_the_setting_admits_nothing_else(url: str) -> None:
    assert describe_invalid_url(url, allow_loopback=True) is not None
