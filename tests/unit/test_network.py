from ipaddress import ip_network

import pytest

from stagecast.kit.network import client_behind_proxies, in_networks, parse_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("testclient", "None"),
        ("", "None"),
        (None, "None"),
    ],
)
def test_address_is_read_in_its_plain_form(text: str | None, expected: str) -> None:
    assert str(parse_address(text)) == expected


def test_address_of_one_family_is_not_in_a_network_of_the_other() -> None:
    assert not in_networks(parse_address("::1"), [ip_network("0.0.0.0/0")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (
            "203.0.113.9",
            ["198.51.100.1"],
            "203.0.113.9",
        ),  # an untrusted peer cannot choose its address
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (
            "10.0.0.1",
            ["6.6.6.6", "198.51.100.1"],
            "198.51.100.1",
        ),  # what the client itself wrote is ignored
        ("10.0.0.1", ["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["garbage"], "10.0.0.1"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
    ],
)
def test_client_is_the_last_hop_before_trusted_proxies(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert str(client_behind_proxies(parse_address(peer), forwarded, TRUSTED)) == client
