"""Which peers may speak for a client (``forwarded_allow_ips``)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def trust(allowed: Iterable[str]) -> Callable[[str | None], bool]:
    """Return a function that tells whether a peer's address is one of ``allowed``.

    A unix socket (address None) is always trusted: who may connect to it is a matter of its mode.

    :param allowed: addresses, networks in CIDR notation, or "*" for everybody.
    """
    names = frozenset(allowed)
    if "*" in names:
        return lambda _address: True
    networks = tuple(ip_network(name, strict=False) for name in names)

    def trusts(address: str | None) -> bool:
        if address is None or address in names:
            return True
        peer = ip_address(address.partition("%")[0])  # a link-local peer carries its zone
        return any(peer in network for network in networks)

    return trusts
