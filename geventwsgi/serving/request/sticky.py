"""What a response has to do with the worker that its session is held by (``affinity``).

:class:`SetsCookie` adds the server's own cookie to responses whose client has none. :class:`Learns` and
:class:`LearnsHandshakes` note a session's name in the response that gives it to the client: a header field of that
name, or the handshake of Engine.IO (Socket.IO).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from geventwsgi.wsgi import response
from geventwsgi.wsgi.exchange import ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geventwsgi.http.fields import Fields
    from geventwsgi.system.shared import Seat
    from geventwsgi.wsgi.exchange import Exchange, Headers

#: The session's name in a handshake of Engine.IO, behind what older versions and JSONP put before it.
_HANDSHAKE = re.compile(rb'0\{\\?"sid\\?":\\?"([^"\\]{1,200})')
#: Bytes in which it is looked for.
_BEGINNING = 512
#: The query of a handshake: it has the version of Engine.IO, and no session yet.
_OF_HANDSHAKE = re.compile(r"(?!(?:.*&)?sid=[^&])(?:.*&)?EIO=")
#: What lets shared caches store a response (RFC 9111 section 3), and what forbids it.
_STORED, _NOT_STORED = re.compile(r"public|s-maxage|max-age\s*=\s*\"?0*[1-9]"), re.compile("private|no-store")
#: The most characters of a session's name.
_LONGEST = 256


class Tokens:
    """The texts that stand for workers."""

    __slots__ = ()

    def own_token(self) -> str | None:
        """Return this worker's; None while it takes no sessions."""
        raise NotImplementedError

    def by_token(self, token: str) -> Seat | None:
        """Return the worker that a text stands for; None if there is none."""
        raise NotImplementedError


class SetsCookie(response.LastHead):
    """Adds a cookie that leads to this worker, unless the request has one that leads to a worker.

    A response that shared caches may store has none: they would not store it, or give all clients the same cookie.

    :param log: see :class:`.LastHead`.
    :param name: the cookie's.
    """

    __slots__ = ("_bare", "_own", "_secure", "_start", "_tokens", "_with_cookie")

    def __init__(self, log: Any, name: str, tokens: Tokens) -> None:
        super().__init__(log)
        self._start = name + "="
        self._tokens = tokens
        #: The head that was to get the cookie last, what the cookie was made of, and the head with it.
        self._bare: ResponseHead | None = None
        self._own, self._secure = "", False
        self._with_cookie: ResponseHead | None = None

    def head_of(self, exchange: Exchange, status: Any, headers: Any) -> ResponseHead:
        """See :meth:`.LastHead.head_of`."""
        head = response.LastHead.head_of(self, exchange, status, headers)
        own, fields = self._tokens.own_token(), exchange.head.fields
        if own is None or fields.here_until:
            return head
        given = cookie_of(fields, self._start)
        if given is not None and (given == own or self._tokens.by_token(given) is not None):
            return head
        secure = exchange.scheme == "https"
        made = self._with_cookie
        if made is None or head is not self._bare or own != self._own or secure != self._secure:
            made = self._made(head, own, secure)
            self._bare, self._own, self._secure, self._with_cookie = head, own, secure, made
        return made

    def _made(self, head: ResponseHead, own: str, secure: bool) -> ResponseHead:
        if _is_for_all(head.headers):
            return head
        cookie = f"{self._start}{own}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        fields = (*head.headers, ("Set-Cookie", cookie))
        return ResponseHead(head.status, head.code, fields, head.length, closes=head.closes)


def _is_for_all(headers: Headers) -> bool:
    """Return whether shared caches may store a response: it says so, or for how long."""
    caching = ",".join(value for name, value in headers if len(name) == 13 and name.lower() == "cache-control").lower()
    return bool(caching) and _STORED.search(caching) is not None and _NOT_STORED.search(caching) is None


class Learns(response.LastHead):
    """Notes the sessions that the application names in a header field.

    :param log: see :class:`.LastHead`.
    :param name: the field's, in lower case.
    :param learn: takes a session's name.
    """

    __slots__ = ("_learn", "_name", "_without")

    def __init__(self, log: Any, name: str, learn: Callable[[str], object]) -> None:
        super().__init__(log)
        self._name = name
        self._learn = learn
        #: The last head that has no such field.
        self._without: ResponseHead | None = None

    def head_of(self, exchange: Exchange, status: Any, headers: Any) -> ResponseHead:
        """See :meth:`.LastHead.head_of`."""
        head = response.LastHead.head_of(self, exchange, status, headers)
        if head is not self._without:
            self._look(head)
        return head

    def _look(self, head: ResponseHead) -> None:
        found, wanted = False, self._name
        for name, value in head.headers:
            if len(name) == len(wanted) and name.lower() == wanted:
                found = True
                if len(value) <= _LONGEST:
                    self._learn(value)
        if not found:
            self._without = head


class LearnsHandshakes:
    """A middleware: notes the sessions that an application of Engine.IO begins.

    :param learn: takes a session's name.
    """

    __slots__ = ("_learn", "application")

    def __init__(self, application: Any, learn: Callable[[str], object]) -> None:
        self.application = application
        self._learn = learn

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application."""
        if _begins(environ):
            return self._look(self.application(environ, start_response))
        return self.application(environ, start_response)  # type: ignore[no-any-return]

    def _look(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Look at the beginning of a body, before the client gets it."""
        if isinstance(result, (list, tuple)):
            if result:
                self._note(result[0])
            return result
        return _Looked(result, self._note)

    def _note(self, piece: bytes) -> None:
        found = _HANDSHAKE.search(piece, 0, _BEGINNING)
        if found is not None:
            self._learn(found[1].decode("latin-1"))


def _begins(environ: dict[str, Any]) -> bool:
    """Return whether a request is a handshake of Engine.IO."""
    query = environ["QUERY_STRING"]
    return query != "" and "EIO=" in query and _OF_HANDSHAKE.match(query) is not None


class _Looked:
    """A body of which each piece is looked at."""

    def __init__(self, body: Iterable[bytes], look: Callable[[bytes], object]) -> None:
        self._body = body
        self._pieces = iter(body)
        self._look = look

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self._look(piece)
        return piece

    def close(self) -> None:
        """Close the body."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def cookie_of(fields: Fields, start: str) -> str | None:
    """Return the first value of a request's cookie; None without it (RFC 6265 section 4.2.1).

    :param start: the cookie's name and "=".
    """
    for field, value in fields.items:
        if len(field) == 6 and field.lower() == "cookie" and start in value:
            if value.startswith(start) and ";" not in value:
                return value[len(start) :]
            for pair in value.split(";"):
                if pair.strip().startswith(start):
                    return pair.strip()[len(start) :]
    return None
