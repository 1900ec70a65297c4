"""What holds for all HTTP/1 requests of a server, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.http.encode import LastHead
from geventwsgi.http.known import KnownBlocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geventwsgi.http.fields import Fields
    from geventwsgi.http.limits import Leniency, Limits
    from geventwsgi.observe.access import Record
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.http1.http1_affinity import Affinity
    from geventwsgi.wsgi.exchange import Exchange
    from geventwsgi.wsgi.gateway import Gateway

    #: Answers a request; returns False if it is the application's after all.
    Page = Callable[[Exchange], bool]


class Forwarding:
    """How forwarders tell of their clients.

    :param scheme: how clients speak to the server, where no forwarder says otherwise.
    :param client_of: reads the client that a trusted peer names; None where none is asked
        (``remote_addr_from_forwarded``).
    """

    __slots__ = ("client_of", "scheme", "secure_scheme_headers")

    def __init__(
        self, scheme: str, secure_scheme_headers: Mapping[str, str],
        client_of: Callable[[Fields], tuple[str, int] | None] | None = None,
    ) -> None:  # fmt: skip
        self.scheme = scheme
        self.secure_scheme_headers = secure_scheme_headers
        self.client_of = client_of


class Http1Policy:
    """See above.

    :param server_header: the Server field; "" for none.
    :param on_record: takes the access record of a request that never reached the gateway; None if nobody wants records.
    :param tally: counts the same requests; None if nothing is counted.
    :param pages: what the server answers itself, by path; None if there is nothing.
    :param affinity: has requests served by the workers that they belong to; None: each is served where it is.
    """

    __slots__ = (
        "affinity", "forwarding", "gateway", "known", "last_head", "leniency", "limits", "on_record", "pages",
        "server_header", "tally",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, limits: Limits, leniency: Leniency, forwarding: Forwarding, *,
        server_header: str, on_record: Callable[[Record], object] | None, pages: dict[str, Page] | None = None,
        tally: Tally | None = None, affinity: Affinity | None = None,
    ) -> None:  # fmt: skip
        self.gateway = gateway
        self.limits = limits
        self.leniency = leniency
        self.forwarding = forwarding
        self.server_header = server_header
        self.on_record = on_record
        self.pages = pages
        self.tally = tally
        self.affinity = affinity
        #: The response head that was encoded last.
        self.last_head = LastHead()
        #: Header blocks that were seen lately.
        self.known = KnownBlocks()
