"""Whether a request belongs to another worker (``affinity``), and the move of its connection to that worker.

A request names a session by a cookie of the server's own, a query parameter or a header field, or it belongs to its
client's address. A cookie and an address belong to a worker's place, which its successor takes. Values that the
application has made are learned from responses (``serving.request.sticky``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from geventwsgi import clock
from geventwsgi.mesh.whereabouts import age_of, place_of
from geventwsgi.serving.request import sticky

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.http.fields import Fields
    from geventwsgi.http.head import RequestHead
    from geventwsgi.mesh.whereabouts import Whereabouts
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.moving.moves import Moves
    from geventwsgi.system.shared import Seat, Slot

#: Characters of a half of a token.
HALF = 24
#: Seconds for which a value that belongs to this worker is not looked up again: one that stays here as long as the
#: worker does, and has to be asked for in the shared table now and then; and one that may belong to another worker as
#: soon as there is one.
SETTLED, AGAIN = 60.0, 0.05
#: Number of values whose place is remembered, and most characters of a value; servers make no longer ones.
REMEMBERED, LONGEST = 4096, 256


class Places(sticky.Tokens):
    """The places of the workers that take connections now.

    :param slot: this worker's own.
    """

    __slots__ = (
        "_by_token", "_chosen", "_found", "_number", "_seats", "_settled", "_slot", "_token", "_whereabouts",
    )  # fmt: skip

    def __init__(self, slot: Slot, whereabouts: Whereabouts) -> None:
        self._slot = slot
        self._whereabouts = whereabouts
        #: This worker's number, 0 while it takes no connections, and the token of the last one.
        self._number = 0
        self._token: str | None = None
        self._found: list[Seat] = []
        #: By place. While a worker is replaced there are two at one place: the one that ends counts until it says so.
        self._seats: dict[int, Seat] = {}
        #: By the two halves of tokens: that of a worker, and that of its place.
        self._by_token: dict[str, Seat] = {}
        #: For each value whose place has no worker: the place that takes its requests.
        self._chosen: dict[str, int] = {}
        #: The values that belong to this worker, and until when that is known.
        self._settled: dict[str, float] = {}

    @property
    def own(self) -> Seat | None:
        """This worker's seat; None while it takes no connections of others."""
        number = self._slot.sitting(self._slot.index)
        return (self._slot.index, number) if number else None

    def sits(self, seat: Seat) -> bool:
        """Return whether a worker takes connections of others."""
        return self._slot.sitting(seat[0]) == seat[1]

    def _look(self) -> None:
        """Look at the workers again."""
        found = self._slot.seats()
        if found == self._found:
            return
        self._found = found
        seats: dict[int, Seat] = {}
        for seat in sorted(found, key=lambda seat: seat[1]):
            seats.setdefault(place_of(seat[1]), seat)
        if seats.keys() != self._seats.keys():
            self._chosen.clear()
        self._seats = seats
        self._by_token = {self._half(b"place", place): seat for place, seat in seats.items()}
        self._by_token.update((self._half(b"worker", seat[1]), seat) for seat in found)

    def _half(self, purpose: bytes, number: int) -> str:
        return self._whereabouts.digest(b"%d" % number, HALF // 2, purpose).hex()

    def own_token(self) -> str | None:
        """Return the text that stands for this worker in a cookie, and after its end for its place.

        Nobody can guess it. Once this worker takes no connections of others, it leads to the successor; None without.
        """
        number = self._slot.sitting(self._slot.index)
        if number != self._number:
            self._number = number
            if number:
                self._token = self._half(b"worker", number) + self._half(b"place", place_of(number))
        if not number and self._token is not None and self.by_token(self._token) is None:
            return None
        return self._token

    def by_token(self, token: str) -> Seat | None:
        """Return the worker that a token names, else the one at its place; None if there is none now."""
        seat = self._by_token.get(token[:HALF])
        if seat is None or not self.sits(seat):
            self._look()
            seat = self._by_token.get(token[:HALF]) or self._by_token.get(token[HALF:])
        return seat if seat is not None and self.sits(seat) else None

    def for_value(self, value: str) -> Seat | None:
        """Return the worker that a value belongs to. All workers choose the same one, as long as it is there."""
        self._look()  # a worker that has come back takes its values
        seat = self._seats.get(self._chosen.get(value, -1))
        if seat is None:
            if not self._seats:
                return None
            place = max(self._seats, key=lambda place: self._weight(value, place))
            if len(self._chosen) >= REMEMBERED:
                self._chosen.clear()
            self._chosen[value] = place
            seat = self._seats[place]
        return seat if self.sits(seat) else None

    def _weight(self, value: str, place: int) -> bytes:
        return self._whereabouts.digest(b"%d %s" % (place, value.encode("utf-8", "surrogatepass")), 8, b"choice")

    def of_session(self, value: str) -> Seat | None:
        """Return the worker that has made a value; None if that is not known, or if it is not there any more."""
        found = self._whereabouts.find(value)
        if found is None:
            return None
        number = self._slot.sitting(found[0])
        return (found[0], number) if number and age_of(number) == found[1] else None

    def learn(self, value: str) -> None:
        """Note that this worker has made a value, unless another one that is there has made it before."""
        own = self.own
        if own is None or not value or self.settled_until(value):
            return
        if self.of_session(value) is None:
            self._whereabouts.learn(value, own)

    def holds(self, until: float) -> bool:
        """Return whether what was found to belong to this worker still does: not later, and not once it leaves."""
        return clock.monotonic() < until and self._slot.sitting(self._slot.index) != 0

    def settled_until(self, value: str) -> float:
        """Return until when a value belongs to this worker, as was found a moment ago; 0 if that does not hold."""
        until = self._settled.get(value)
        return until if until is not None and self.holds(until) else 0.0

    def settle(self, value: str, seconds: float) -> float:
        """Note that a value belongs to this worker; return until when it need not be looked up again."""
        if len(self._settled) >= REMEMBERED:
            self._settled.clear()
        until = self._settled[value] = clock.monotonic() + seconds
        return until


class Affinity:
    """See above; of each way to name a worker there is a subclass.

    :param moves: sends connections to other workers.
    """

    __slots__ = ("_moves", "_places")

    #: See :data:`SETTLED`.
    lasting = AGAIN

    def __init__(self, moves: Moves, places: Places) -> None:
        self._moves = moves
        self._places = places

    def value_of(self, connection: Connection, head: RequestHead) -> str | None:
        """Return the value in a request that leads to a worker; None if there is none."""
        raise NotImplementedError

    def find(self, value: str) -> Seat | None:
        """Return the worker that a value belongs to; None if there is none."""
        raise NotImplementedError

    def leads_away(self, connection: Connection, head: RequestHead) -> bool:
        """Return whether a request belongs to another worker, and its connection has left for that one."""
        places, fields = self._places, head.fields
        if fields.here_until and places.holds(fields.here_until):
            return False
        value = self.value_of(connection, head)
        if value is None:
            home = connection.home
            return home is not None and self._leads_home(connection, home, head)
        if len(value) > LONGEST:
            return False
        until = places.settled_until(value)
        if not until:
            seat = self.find(value)
            if seat is None:
                return False
            if seat != places.own:
                return self._send(connection, seat, head)
            until = places.settle(value, self.lasting)
        self._note(fields, value, until)
        return False

    def _note(self, fields: Fields, value: str, until: float) -> None:
        """Note in the fields that they lead here, if they do by themselves."""

    def _leads_home(self, connection: Connection, home: Seat, head: RequestHead) -> bool:
        """Return whether a request of no session has left for the worker that has accepted its connection.

        So new sessions are spread as connections are, and do not follow a busy session of the same proxy.
        """
        places = self._places
        return home != places.own and places.sits(home) and self._send(connection, home, head)

    def _send(self, connection: Connection, seat: Seat, head: RequestHead) -> bool:
        data = bytes_of(head)
        return data is not None and self._moves.send(connection, seat, data)


class ByCookie(Affinity):
    """A cookie of the server's own has the token of a place."""

    __slots__ = ("_start",)

    lasting = SETTLED

    def __init__(self, moves: Moves, places: Places, name: str) -> None:
        super().__init__(moves, places)
        self._start = name + "="

    def value_of(self, connection: Connection, head: RequestHead) -> str | None:  # noqa: ARG002 - the head says it
        """See :class:`Affinity`."""
        return sticky.cookie_of(head.fields, self._start)

    def find(self, value: str) -> Seat | None:
        """See :class:`Affinity`. A cookie that leads to no worker leads all requests to the same one."""
        return self._places.by_token(value) or self._places.for_value(value)

    def _note(self, fields: Fields, value: str, until: float) -> None:
        """See :class:`Affinity`. A cookie that leads to no worker is to be replaced by the response."""
        if self._places.by_token(value) is not None:
            fields.lead_here(until)


class ByQuery(Affinity):
    """A query parameter has a session's name."""

    __slots__ = ("_name",)

    lasting = SETTLED

    def __init__(self, moves: Moves, places: Places, name: str) -> None:
        super().__init__(moves, places)
        self._name = name

    def value_of(self, connection: Connection, head: RequestHead) -> str | None:  # noqa: ARG002 - the head says it
        """See :class:`Affinity`."""
        return parameter_of(head.query, self._name)

    def find(self, value: str) -> Seat | None:
        """See :class:`Affinity`."""
        return self._places.of_session(value)


class ByHeader(ByQuery):
    """A header field has a session's name."""

    __slots__ = ()

    def value_of(self, connection: Connection, head: RequestHead) -> str | None:  # noqa: ARG002 - the head says it
        """See :class:`Affinity`."""
        return field_of(head.fields, self._name)

    def _note(self, fields: Fields, value: str, until: float) -> None:  # noqa: ARG002 - they lead here by the value
        """See :class:`Affinity`."""
        fields.lead_here(until)


class ByAddress(Affinity):
    """The client's address, or the one that a trusted peer names.

    :param client_of: reads the latter; None if peers are not asked for it.
    """

    __slots__ = ("_client_of",)

    def __init__(
        self, moves: Moves, places: Places, client_of: Callable[[Fields], tuple[str, int] | None] | None
    ) -> None:
        super().__init__(moves, places)
        self._client_of = client_of

    def value_of(self, connection: Connection, head: RequestHead) -> str | None:
        """See :class:`Affinity`."""
        if connection.trusted and self._client_of is not None:
            client = self._client_of(head.fields)
            if client is not None:
                return client[0]
        return connection.remote_addr or None

    def find(self, value: str) -> Seat | None:
        """See :class:`Affinity`."""
        return self._places.for_value(value)


def bytes_of(head: RequestHead) -> bytes | None:
    """Return a head as it was received, without an empty line before it; None if that is not known any more."""
    data = f"{head.method} {head.target} HTTP/".encode("latin-1") + head.fields.raw + b"\r\n"
    return data if head.size - len(data) in (0, 2) else None


def parameter_of(query: str, name: str) -> str | None:
    """Return the first value of a query's parameter; None without it."""
    if not query or (name not in query and "%" not in query):
        return None
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name or ("%" in key and unquote_plus(key, "latin-1") == name):
            return unquote_plus(value, "latin-1") if "%" in value or "+" in value else value
    return None


def field_of(fields: Fields, lower: str) -> str | None:
    """Return the first value of a field; None without it.

    :param lower: its name, in lower case.
    """
    size = len(lower)
    for name, value in fields.items:
        if len(name) == size and name.lower() == lower:
            return value
    return None


def affinity_of(
    how: str, name: str, moves: Moves, places: Places, client_of: Callable[[Fields], tuple[str, int] | None] | None
) -> Affinity:
    """Return what the setting ``affinity`` names.

    :param how: "cookie", "query", "header" or "address".
    :param client_of: reads the client that a trusted peer names.
    """
    if how == "cookie":
        return ByCookie(moves, places, name)
    if how == "query":
        return ByQuery(moves, places, name)
    if how == "header":
        return ByHeader(moves, places, name.lower())
    return ByAddress(moves, places, client_of)
