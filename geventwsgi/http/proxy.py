"""The PROXY protocol's header, versions 1 and 2: bytes to the connection that a proxy speaks for.

The specification is HAProxy's ``proxy-protocol.txt`` (sections 2.1 and 2.2). Knows bytes only: who may send such a
header, and how long it may take, is the caller's business.
"""

from __future__ import annotations

from typing import NamedTuple

from geventwsgi.errors import ProxyHeaderError

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
#: Bytes of a header of version 1, its line end included (section 2.1).
LONGEST_V1 = 107
#: Bytes of a header of version 2. It allows 65,551; what proxies send, certificates' names included, is below 1,000.
LONGEST_V2 = 4096
_V1 = b"PROXY "
_FIXED = 16
#: Address families and transports of version 2 (section 2.2), and the bytes of their addresses.
_TCP4, _TCP6, _UNIX_STREAM = 0x11, 0x21, 0x31
_ADDRESS_BYTES = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}


class Proxied(NamedTuple):
    """The content of a header.

    :param length: the header's bytes; what follows is the client's.
    :param source: the client's address and port; None if the proxy speaks for itself (a health check), or of a
        connection that has none: then the peer's own hold. A unix socket's client is ``("", 0)``.
    """

    length: int
    source: tuple[str, int] | None


def parse_proxy_header(data: bytes, version: str = "auto") -> Proxied | None:
    """Return the content of the header at the beginning of ``data``, None if more bytes are needed.

    :param version: ``v1``, ``v2`` or ``auto``: what may come.
    :raises ProxyHeaderError: it is no such header, or a malformed or too long one.
    """
    if version != "v1" and (data.startswith(SIGNATURE) or SIGNATURE.startswith(data)):
        return _parse_v2(data) if len(data) >= _FIXED else None
    if version != "v2" and (data.startswith(_V1) or _V1.startswith(data)):
        return _parse_v1(data)
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def _parse_v1(data: bytes) -> Proxied | None:
    line, newline, _ = data[:LONGEST_V1].partition(b"\n")
    if not newline and len(line) < LONGEST_V1:
        return None
    if not newline or not line.endswith(b"\r"):
        raise ProxyHeaderError(f"no line of at most {LONGEST_V1} bytes that CR LF ends")
    length = len(line) + 1
    fields = line[len(_V1) : -1].split(b" ")
    if fields[0] == b"UNKNOWN":
        return Proxied(length, None)
    if fields[0] not in (b"TCP4", b"TCP6") or len(fields) != 5:
        raise ProxyHeaderError("the line is not PROXY TCP4|TCP6 ADDRESS ADDRESS PORT PORT, or PROXY UNKNOWN")
    source, destination = (_address(text, fields[0]) for text in fields[1:3])
    ports = [_port(text) for text in fields[3:]]
    del destination  # checked but not used: the listener knows its own address
    return Proxied(length, (source, ports[0]))


def _address(text: bytes, family: bytes) -> str:
    from ipaddress import IPv4Address, IPv6Address  # takes 1 ms

    try:
        address = (IPv4Address if family == b"TCP4" else IPv6Address)(text.decode("ascii"))
    except ValueError:
        address = None
    if address is None or b"%" in text:  # a zone means nothing on another machine
        raise ProxyHeaderError(f"{text!r} is no address of {family.decode()}")
    return str(address)


def _port(text: bytes) -> int:
    if not text.isdigit() or (text.startswith(b"0") and text != b"0") or len(text) > 5 or int(text) > 65535:
        raise ProxyHeaderError(f"{text!r} is no port")
    return int(text)


def _parse_v2(data: bytes) -> Proxied | None:
    version_command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if version_command not in (0x20, 0x21):
        raise ProxyHeaderError(f"version and command are {version_command:#04x}, not 0x20 (LOCAL) or 0x21 (PROXY)")
    whole = _FIXED + length
    if whole > LONGEST_V2:
        raise ProxyHeaderError(f"a header of {whole} bytes; {LONGEST_V2} are taken")
    if len(data) < whole:
        return None
    if version_command == 0x20 or family == 0:  # LOCAL, or AF_UNSPEC: what follows is to be ignored (section 2.2)
        return Proxied(whole, None)
    needed = _ADDRESS_BYTES.get(family)
    if needed is None:
        raise ProxyHeaderError(f"family and transport are {family:#04x}, which the protocol does not have")
    if length < needed:
        raise ProxyHeaderError(f"{length} bytes of addresses, and {needed} are needed")
    _check_tlvs(data[_FIXED + needed : whole])
    return Proxied(whole, _source(data[_FIXED : _FIXED + needed], family))


def _source(addresses: bytes, family: int) -> tuple[str, int] | None:
    from ipaddress import IPv4Address, IPv6Address  # as above

    if family == _TCP4:
        return str(IPv4Address(addresses[:4])), int.from_bytes(addresses[8:10], "big")
    if family == _TCP6:
        return str(IPv6Address(addresses[:16])), int.from_bytes(addresses[32:34], "big")
    return ("", 0) if family == _UNIX_STREAM else None  # a datagram's address is not this connection's


def _check_tlvs(data: bytes) -> None:
    """Read past the fields behind the addresses, each a type, a length and a value (section 2.2.1)."""
    at = 0
    while at < len(data):
        if at + 3 > len(data):
            raise ProxyHeaderError("the last TLV has no length")
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    if at > len(data):
        raise ProxyHeaderError("the last TLV is cut")
