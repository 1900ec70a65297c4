"""Addresses to listen at, and those of log and metric sinks: text to values. Opens no socket, resolves no name."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

DEFAULT_PORT = 8000
STATSD_PORT = 8125


# Annotations are no text in this module: NamedTuple would compile each of them at every start.
class TCPAddress(NamedTuple):
    """A host (a name or an IP address, without brackets) and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        from ipaddress import ip_address  # takes 1 ms

        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class UnixAddress(NamedTuple):
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class FdAddress(NamedTuple):
    """A file descriptor that is a listening socket already, inherited from the parent process."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


Address = TCPAddress | UnixAddress | FdAddress


def parse_address(text: str) -> Address:
    """Parse ``HOST:PORT``, ``HOST``, ``[IPV6]:PORT``, ``:PORT``, ``PORT``, ``unix:PATH`` or ``fd://N``.

    :raises ValueError: with the cause, and the cure where it is known.
    """
    if text.startswith("unix:"):
        return _parse_unix(text)
    if text.startswith("fd://"):
        if not text[5:].isdecimal():
            raise ValueError(f"names no file descriptor in {text!r}; write fd://3")
        return FdAddress(int(text[5:]))
    return parse_host_port(text, DEFAULT_PORT)


def parse_host_port(text: str, default_port: int) -> TCPAddress:
    """Parse ``HOST:PORT``, ``HOST``, ``[IPV6]:PORT``, ``:PORT`` or ``PORT``; an empty host is every IPv4 interface.

    :raises ValueError: with the cause, and the cure where it is known.
    """
    # A space beside a colon is no more than a slip: gunicorn reads it as if it were not there.
    netloc = ":".join(part.strip() for part in text.removeprefix("tcp://").split(":"))
    if netloc.isdecimal():
        netloc = f":{netloc}"
    if netloc.startswith("["):
        host, bracket, rest = netloc[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":") or not _is_ipv6(host):
            raise ValueError(f"is no IPv6 address in {text!r}; write [::1]:{default_port}")
        port = rest[1:]
    else:
        host, _, port = netloc.partition(":")
        if ":" in port and _is_ipv6(netloc):
            raise ValueError(f"needs brackets round an IPv6 address in {text!r}; write [::1]:{default_port}")
        if any(character in "/@?#[]" or character.isspace() for character in netloc):
            raise ValueError(f"is no address in {text!r}; write HOST:PORT or unix:PATH")
    return TCPAddress(host or "0.0.0.0", _port(port, text) if port else default_port)  # noqa: S104 - as gunicorn reads ":80"


def parse_statsd_address(text: str) -> tuple[str, int] | str:
    """Return ``(host, port)`` for UDP, or the path of a unix socket; the shape that gunicorn's loggers expect.

    ``unix:8125`` is a host named unix, as in gunicorn.
    """
    prefix, _, rest = text.partition(":")
    if prefix == "unix" and not rest.isdecimal():
        return _parse_unix(text).path
    address = parse_host_port(text, STATSD_PORT)
    return address.host, address.port


def networks(addresses: "Iterable[str]") -> "list[IPv4Network | IPv6Network]":
    """Return IP addresses, and networks in CIDR notation, as networks; "*" is left out.

    :raises ValueError: one is neither.
    """
    from ipaddress import ip_network  # as above

    return [ip_network(address) for address in addresses if address != "*"]


def _parse_unix(text: str) -> UnixAddress:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path:
        raise ValueError(f"names no path in {text!r}; write unix:/run/app.sock")
    return UnixAddress(path)


def _is_ipv6(text: str) -> bool:
    from ipaddress import IPv6Address  # as above

    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, whole: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 65535:
        raise ValueError(f"needs a port from 0 to 65535, which {text!r} in {whole!r} is not")
    return int(text)
