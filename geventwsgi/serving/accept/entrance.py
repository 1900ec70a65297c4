"""What comes before a connection's first request (TLS, a PROXY header), and which peers a listener trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.wsgi.memo import Memo

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from geventwsgi.serving.accept.trust import ProxyProtocol


class Entrance:
    """The same for all connections of a server.

    :param trusts: returns whether the forwarder's fields of an address (None for a unix socket) are believed.
    :param tls: None without TLS.
    :param proxies: which PROXY header connections begin with; None for none.
    :param suppress_ragged_eofs: whether an end without TLS's close_notify is an ordinary end.
    """

    __slots__ = ("has_prologue", "peers", "proxies", "suppress_ragged_eofs", "tls", "trusts")

    def __init__(
        self, trusts: Callable[[str | None], bool], tls: ssl.SSLContext | None, proxies: ProxyProtocol | None,
        *, suppress_ragged_eofs: bool,
    ) -> None:  # fmt: skip
        self.trusts = trusts
        self.tls = tls
        self.proxies = proxies
        self.suppress_ragged_eofs = suppress_ragged_eofs
        #: Whether anything comes before a connection's first request.
        self.has_prologue = tls is not None or proxies is not None
        #: Recent addresses, each stored once, and whether they are trusted.
        self.peers = Memo(lambda address: (address, trusts(address)))
