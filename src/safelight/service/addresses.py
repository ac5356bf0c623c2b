"""Which IP addresses belong to the public internet, by a table of our own. Knows nothing of names, sockets or HTTP.

``ipaddress.is_global`` is not enough: in Python 3.11 it calls NAT64 and 6to4 forms of loopback, ``::127.0.0.1``,
multicast and ``192.0.0.192`` global. Here an address is public only if no special-purpose registry of IANA objects.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and one cloud's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # a public number that is one cloud's metadata
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocols, and one cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # nothing else was ever given out, so everything else is refused
_NOT_PUBLIC_6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches the IPv4 internet: as public as what it holds


def is_public(address: str) -> bool:
    """True if ``address`` (a literal, zone ids included) may be reached on behalf of a stranger."""
    number = ip_address(address)
    if isinstance(number, IPv6Address) and (number in _MAPPED or number in _NAT64):
        number = IPv4Address(number.packed[-4:])
    if isinstance(number, IPv4Address):
        return not any(number in network for network in _NOT_PUBLIC_4)
    return number in _GLOBAL_UNICAST and not any(number in network for network in _NOT_PUBLIC_6)
