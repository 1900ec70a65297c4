"""The scheme and the client of a request, as forwarders' fields and the target have them.

The caller decides whether the peer is trusted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from geventwsgi.http.head import Fields, RequestHead


#: Number of forwarders that are believed one after the other, at the most.
MOST_HOPS = 32
#: Characters of the longest node: an IPv6 address has up to 45, a port's name may have some more.
LONGEST_NODE = 96
# RFC 7239 section 4: pairs of a token and a value, and what stands between them.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")')
_BETWEEN = re.compile(r"[ \t]*([,;])[ \t]*")
# RFC 7239 section 6, and what proxies write into X-Forwarded-For.
_NODE = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}|_[A-Za-z0-9._\-]+))?")
_BARE = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


def forwarded_scheme(fields: Fields, secure_scheme_headers: Mapping[str, str], default: str) -> str:
    """Return "http" or "https" from the forwarder's fields, ``default`` if there is none of them.

    If the block differs from the connection's former one only in other fields, that one's scheme is returned.

    :param secure_scheme_headers: upper-case field name -> the value that means https (``secure_scheme_headers``).
    :raises RequestError: 400 when two fields contradict each other.
    """
    former = fields.former
    if former is not None and former.scheme is not None:
        for name, _ in fields.changes:
            if name.upper() in secure_scheme_headers:
                break
        else:
            return former.scheme
    secure = None
    for name, value in fields.items:
        expected = secure_scheme_headers.get(name.upper())
        if expected is None:
            continue
        says = value == expected
        if secure is not None and says != secure:
            raise RequestError(400, "the forwarder's fields contradict each other about the scheme")
        secure = says
    if secure is None:
        return default
    return "https" if secure else "http"


def check_scheme(head: RequestHead, scheme: str) -> None:
    """Refuse a target in absolute-form that must not have come this way (RFC 9110 section 7.4).

    :param scheme: "http" or "https", as the connection is.
    :raises RequestError: 421 when https was asked for over a connection that is not secured.
    """
    if head.asked_scheme == "https" != scheme:
        raise RequestError(421, "an https URI was asked for over a connection without TLS")


def forwarded_client(fields: Any, header: str, trusts: Callable[[str], bool]) -> tuple[str, int] | None:
    """Return the client's address and port (0: unknown) from trusted forwarders' fields, None if they have none.

    Each appends the address of its own peer. So the last address comes from our own peer, which is trusted. The one
    before it comes from the host of the last address, and so on. An address is believed only if all that follow it are
    trusted.

    :param header: ``x-forwarded-for`` or ``forwarded``.
    :param trusts: returns whether an address is a forwarder's.
    """
    values = [value for name, value in fields.items if name.lower() == header]
    nodes = _listed(values) if header == "x-forwarded-for" else _forwarded(values)
    client = None
    for _, node in zip(range(MOST_HOPS), nodes, strict=False):
        found = _address(node, bare=header == "x-forwarded-for")
        if found is None:
            break
        client = found
        if not trusts(client[0]):
            break
    return client


def _listed(values: list[str]) -> Iterator[str]:
    """Yield the entries of X-Forwarded-For, the last one first."""
    for value in reversed(values):
        for entry in reversed(value.split(",")):
            node = entry.strip(" \t")
            if node[:1] == '"' == node[-1:] and len(node) > 1:
                node = node[1:-1]
            if node:
                yield node


def _forwarded(values: list[str]) -> Iterator[str]:
    """Yield the ``for`` of each element of Forwarded, the last one first; "" for an element that has none."""
    for value in reversed(values):
        elements = _elements(value)
        if elements is None:  # the ends of its elements are not certain
            yield ""
            return
        yield from reversed(elements)


def _elements(value: str) -> list[str] | None:
    """Return the ``for`` of each element, None for a value that is malformed."""
    elements = []
    position = _after_empty(value, 0)
    while position < len(value):
        nodes = []
        while True:
            pair = _PAIR.match(value, position)
            if pair is None:
                return None
            if pair[1].lower() == "for":
                nodes.append(re.sub(r"\\(.)", r"\1", pair[3]) if pair[2] is None else pair[2])
            position = pair.end()
            between = _BETWEEN.match(value, position)
            if between is None:
                if value[position:].strip(" \t"):
                    return None
                position = len(value)
                break
            position = between.end()
            if between[1] == ",":
                position = _after_empty(value, position)
                break
        elements.append(nodes[0] if len(nodes) == 1 else "")
    return elements


def _after_empty(value: str, position: int) -> int:
    """Return where the next element begins: a list may have empty ones (RFC 9110 section 5.6.1)."""
    while position < len(value) and value[position] in ", \t":
        position += 1
    return position


def _address(node: str, *, bare: bool) -> tuple[str, int] | None:
    """Return the address and port of a node, None if it is hidden, unknown or malformed.

    :param bare: whether an IPv6 address may stand without brackets.
    """
    from ipaddress import ip_address  # takes 1 ms, and for those who ask for it

    if len(node) > LONGEST_NODE:
        return None
    match = _NODE.fullmatch(node)
    if match is not None:
        text, port = match[1] or match[2], match[3] or "0"
    elif bare and _BARE.fullmatch(node) is not None:
        text, port = node, "0"
    else:
        return None
    number = 0 if port.startswith("_") else int(port)
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if number > 65535 or (match is not None and match[2] is not None and address.version != 6):
        return None
    return str(getattr(address, "ipv4_mapped", None) or address), number
