"""Which peers may name a client (``forwarded_allow_ips``, ``proxy_protocol``)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from geventwsgi.config.addresses import networks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def trust(allowed: Iterable[str]) -> Callable[[str | None], bool]:
    """Return a function that returns whether a peer's address is one of ``allowed``.

    A unix socket (address None) is always trusted: its mode decides who may connect.

    :param allowed: addresses, networks in CIDR notation, or "*" for everybody.
    """
    names = frozenset(allowed)
    if "*" in names:
        return lambda _address: True

    def trusts(address: str | None) -> bool:
        return address is None or address in names or _is_in(names, address)

    return trusts


class ProxyProtocol:
    """Which headers proxies send to a listener (``proxy_protocol``), and who may send one (``proxy_allow_ips``).

    :param version: ``v1``, ``v2`` or ``auto``.
    :param trusts: returns whether an address (None for a unix socket) is a proxy's.
    """

    def __init__(self, version: str, trusts: Callable[[str | None], bool]) -> None:
        self.version = version
        self.trusts = trusts


def _is_in(names: frozenset[str], address: str) -> bool:
    from ipaddress import ip_address  # takes 1 ms; behind a proxy all clients are named

    peer = ip_address(address.partition("%")[0])  # a link-local peer carries its zone
    # An IPv4 client of an IPv6 listener is ::ffff:192.0.2.1 (RFC 4291 section 2.5.5.2).
    mapped = getattr(peer, "ipv4_mapped", None)
    return any(one in network for network in _networks(names) for one in (peer, mapped) if one is not None)


_networks = cache(networks)
