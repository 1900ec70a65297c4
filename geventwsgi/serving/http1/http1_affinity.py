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

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.http.fields import Fields
    from geventwsgi.http.head import RequestHead
    from geventwsgi.mesh.whereabouts import Whereabouts
    from geventwsgi.serving.accept.connection import Connection
    from geventwsgi.serving.accept.moving import Moves
    from geventwsgi.system.shared import Seat, Slot

    #: Returns the value by which a request belongs to a worker; None if it has none.
    Reads = Callable[[Connection, RequestHead], str | None]

#: Seconds between two looks at the workers.
AGAIN = 0.05
#: Values of which the place is remembered.
REMEMBERED = 4096


class Places:
    """The places of the workers that take connections now.

    :param slot: this worker's own.
    """

    def __init__(self, slot: Slot, whereabouts: Whereabouts) -> None:
        self._slot = slot
        self._whereabouts = whereabouts
        #: By place. While a worker is replaced there are two at one place: the one that ends counts until it says so.
        self._seats: dict[int, Seat] = {}
        self._by_token: dict[str, int] = {}
        #: By value the place that stands in for one without a worker.
        self._chosen: dict[str, int] = {}
        self._looked = float("-inf")

    @property
    def own(self) -> Seat | None:
        """This worker's seat; None while it takes no connections of others."""
        number = self._slot.sitting(self._slot.index)
        return (self._slot.index, number) if number else None

    def _sits(self, seat: Seat) -> bool:
        return self._slot.sitting(seat[0]) == seat[1]

    def _look(self) -> bool:
        """Look at the workers again, unless that was a moment ago; return whether it was done."""
        now = clock.monotonic()
        if now - self._looked < AGAIN:
            return False
        self._looked = now
        seats: dict[int, Seat] = {}
        for seat in sorted(self._slot.seats(), key=lambda seat: seat[1]):
            seats.setdefault(place_of(seat[1]), seat)
        if seats != self._seats:
            if seats.keys() != self._seats.keys():
                self._chosen.clear()
                self._by_token = {self.token(place): place for place in seats}
            self._seats = seats
        return True

    def token(self, place: int) -> str:
        """Return the text that stands for a place in a cookie. Nobody can guess it."""
        return self._whereabouts.digest(b"%d" % place, 12, b"cookie").hex()

    def own_token(self) -> str | None:
        """Return the token of this worker's place; None while it takes no connections of others."""
        own = self.own
        return None if own is None else self.token(place_of(own[1]))

    def by_token(self, token: str) -> Seat | None:
        """Return the worker at the place that a token names; None if there is none now."""
        place = self._by_token.get(token, -1)
        seat = self._seats.get(place)
        if (seat is None or not self._sits(seat)) and self._look():
            seat = self._seats.get(self._by_token.get(token, -1))
        return seat if seat is not None and self._sits(seat) else None

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
        return seat if self._sits(seat) else None

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
        """Note that this worker has made a value."""
        own = self.own
        if own is not None and value:
            self._whereabouts.learn(value, own)


class Affinity:
    """See above.

    :param read: returns what a request says.
    :param find: returns the worker that this belongs to.
    """

    def __init__(self, moves: Moves, places: Places, read: Reads, find: Callable[[str], Seat | None]) -> None:
        self._moves = moves
        self._places = places
        self._read = read
        self._find = find

    def leads_away(self, connection: Connection, head: RequestHead) -> bool:
        """Return whether a request belongs to another worker, and its connection has left for that one."""
        value = self._read(connection, head)
        if value is None:
            return False
        seat = self._find(value)
        if seat is None or seat == self._places.own:
            return False
        data = bytes_of(head)
        return data is not None and self._moves.send(connection, seat, data)


def bytes_of(head: RequestHead) -> bytes | None:
    """Return a head as it was received, without an empty line before it; None if that is not known any more."""
    data = f"{head.method} {head.target} HTTP/".encode("latin-1") + head.fields.raw + b"\r\n"
    return data if head.size - len(data) in (0, 2) else None


def cookie_of(fields: Fields, name: str) -> str | None:
    """Return the value of a cookie (RFC 6265 section 4.2.1); None without it."""
    start = name + "="
    for field, value in fields.items:
        if len(field) == 6 and field.lower() == "cookie" and start in value:
            for pair in value.split(";"):
                if pair.strip().startswith(start):
                    return pair.strip()[len(start) :]
    return None


def parameter_of(query: str, name: str) -> str | None:
    """Return the first value of a query's parameter; None without it."""
    if name not in query and "%" not in query and "+" not in query:
        return None
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if unquote_plus(key, "latin-1") == name:
            return unquote_plus(value, "latin-1")
    return None


def field_of(fields: Fields, lower: str) -> str | None:
    """Return the first value of a field; None without it."""
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
        return Affinity(
            moves, places, lambda _, head: cookie_of(head.fields, name),
            lambda token: places.by_token(token) or places.for_value(token),
        )  # fmt: skip
    if how == "query":
        return Affinity(moves, places, lambda _, head: parameter_of(head.query, name), places.of_session)
    if how == "header":
        lower = name.lower()
        return Affinity(moves, places, lambda _, head: field_of(head.fields, lower), places.of_session)

    def address_of(connection: Connection, head: RequestHead) -> str | None:
        if connection.trusted and client_of is not None:
            client = client_of(head.fields)
            if client is not None:
                return client[0]
        return connection.remote_addr or None

    return Affinity(moves, places, address_of, places.for_value)
