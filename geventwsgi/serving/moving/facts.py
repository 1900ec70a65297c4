"""What a worker tells another one of a connection that moves there, and how that is written as bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.system.shared import Seat

#: What facts begin with: FLAGS, the client's port, the index and the number of :attr:`Known.home`, the size of the
#: client's address. The address follows, and what is parked, as JSON.
FACTS = struct.Struct("!BHIQB")
#: Flags. The names of the first ones are those of :class:`Known`.
TRUSTED, ANSWERED, RELAYED, MOVED, AT_HOME = 1, 2, 4, 8, 16
FLAGS = 31


class Known(NamedTuple):
    """What another worker has to know of a connection, beside its bytes: the facts of a passing."""

    #: The client's address; None for a unix socket.
    client: tuple[str, int] | None
    #: Whether the peer's forwarder fields are believed. It counts where the peer is another worker, which speaks the
    #: client's TLS; any other peer is judged by the settings of the worker that takes the connection.
    trusted: bool
    #: Whether a request of it has been answered.
    answered: bool
    #: Whether another worker speaks the client's TLS.
    relayed: bool
    #: The worker that has accepted it; None: the one that has it.
    home: Seat | None = None

    @classmethod
    def of(cls, connection: Connection) -> Known:
        """Return what is known of a connection."""
        client = (connection.remote_addr, connection.remote_port) if connection.remote_addr else None
        relayed = connection.service.entrance.tls is not None
        return cls(client, bool(connection.trusted), bool(connection.answered), relayed, connection.home)

    def facts(self, home: Seat | None, parked: dict[str, Any] | None, *, moved: bool) -> bytes:
        """Return what is passed to another worker; see :meth:`read`."""
        host, port = self.client or ("", 0)
        index, number = home or (0, 0)
        flags = TRUSTED * self.trusted | ANSWERED * self.answered | RELAYED * self.relayed | MOVED * moved
        name = host.encode()
        head = FACTS.pack(flags | AT_HOME * (home is not None), port, index, number, len(name)) + name
        if not parked:
            return head
        import json  # slow to import, and for what is parked alone

        return head + json.dumps(parked).encode()

    @classmethod
    def read(cls, facts: bytes) -> tuple[Known, dict[str, Any] | None, bool]:
        """Return what another worker has passed: this, what is parked, and whether it is there for its next request.

        :raises Exception: no worker of this version passes such facts.
        """
        flags, port, index, number, size = FACTS.unpack_from(facts)
        end = FACTS.size + size
        if flags & ~FLAGS or end > len(facts):
            raise ValueError("there are more flags, or there is less of an address, than a worker passes")
        client = (facts[FACTS.size : end].decode(), port) if size else None
        parked = None
        if end < len(facts):
            import json  # as above

            parked = json.loads(facts[end:])
            if not isinstance(parked, dict):
                raise TypeError("what is parked is described by a dictionary")
        home = (index, number) if flags & AT_HOME else None
        known = cls(client, flags & TRUSTED != 0, flags & ANSWERED != 0, flags & RELAYED != 0, home)
        return known, parked, flags & MOVED != 0
