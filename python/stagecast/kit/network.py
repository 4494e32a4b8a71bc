"""Client addresses: parsing, CIDR lists, and who a request really came from behind trusted proxies."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def parse_address(text: str | None) -> Address | None:
    """Read an address; an IPv4-mapped IPv6 one (``::ffff:1.2.3.4``) becomes IPv4, a zone is cut off."""
    if not text:
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def in_networks(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def client_behind_proxies(
    peer: Address | None, forwarded_for: Sequence[str], trusted: Sequence[Network]
) -> Address | None:
    """Walk ``X-Forwarded-For`` from the right, as long as the hop before was a trusted proxy.

    Whatever an untrusted peer writes in the header is ignored, so nobody can choose their own address.
    """
    client = peer
    for text in reversed(forwarded_for):
        if not in_networks(client, trusted):
            break
        hop = parse_address(text.strip())
        if hop is None:
            break
        client = hop
    return client
