"""What a response has to do with the worker that its session is held by (``affinity``): middlewares of WSGI.

One sets the server's own cookie where a client has none. The other learns a session's name from the response that
gives it to the client: from a header field of that name, or from the handshake of Engine.IO (Socket.IO).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Headers = list[tuple[str, str]]

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


class Tokens(Protocol):
    """The texts that stand for workers."""

    def own_token(self) -> str | None:
        """Return this worker's; None while it takes no sessions."""

    def by_token(self, token: str) -> object | None:
        """Return the worker that a text stands for; None if there is none."""


class SetsCookie:
    """Gives clients a cookie that leads to this worker, unless they have one that leads to a worker.

    A response that shared caches may store has none: they would not store it, or give all clients the same cookie.
    """

    __slots__ = ("_own", "_start", "_tokens", "application")

    def __init__(self, application: Any, name: str, tokens: Tokens) -> None:
        self.application = application
        self._start = name + "="
        self._tokens = tokens
        self._own: str | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application."""
        cookies = environ.get("HTTP_COOKIE", "")
        own = self._own
        if own is not None and own in cookies:
            return self.application(environ, start_response)  # type: ignore[no-any-return]
        token = self._tokens.own_token()
        if token is not None:
            self._own = own = self._start + token
        if own is None or token is None or self._leads_somewhere(cookies):
            return self.application(environ, start_response)  # type: ignore[no-any-return]
        secure = "; Secure" if environ["wsgi.url_scheme"] == "https" else ""
        field = ("Set-Cookie", f"{own}; Path=/; HttpOnly; SameSite=Lax{secure}")

        def begin(status: str, headers: Headers, exc_info: Any = None) -> Any:
            given = headers if _is_for_all(headers) else [*headers, field]
            return start_response(status, given, *(() if exc_info is None else (exc_info,)))

        return self.application(environ, begin)  # type: ignore[no-any-return]

    def _leads_somewhere(self, cookies: str) -> bool:
        """Return whether one of the cookies leads to a worker that is there."""
        for pair in cookies.split(";"):
            if pair.strip().startswith(self._start):
                return self._tokens.by_token(pair.strip()[len(self._start) :]) is not None
        return False


def _is_for_all(headers: Headers) -> bool:
    """Return whether shared caches may store a response: it says so, or for how long."""
    caching = ",".join(value for name, value in headers if len(name) == 13 and name.lower() == "cache-control").lower()
    return bool(caching) and _STORED.search(caching) is not None and _NOT_STORED.search(caching) is None


class Learns:
    """Notes the sessions that the application makes in this worker.

    :param name: the name of a response's field, in lower case; None: none is looked at.
    :param learn: takes a session's name.
    :param handshakes: whether those of Engine.IO are looked at.
    """

    __slots__ = ("_handshakes", "_learn", "_name", "application")

    def __init__(self, application: Any, name: str, learn: Callable[[str], object], *, handshakes: bool) -> None:
        self.application = application
        self._name = name
        self._learn = learn
        self._handshakes = handshakes

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Call the application."""
        wanted = self._name

        def begin(status: str, headers: Headers, *exc_info: Any) -> Any:
            for name, value in headers:
                if len(name) == len(wanted) and name.lower() == wanted and len(value) <= _LONGEST:
                    self._learn(value)
            return start_response(status, headers, *exc_info)

        result = self.application(environ, begin)
        if self._handshakes:
            query = environ.get("QUERY_STRING", "")
            if "EIO=" in query and _OF_HANDSHAKE.match(query):
                return self._look(result)
        return result  # type: ignore[no-any-return]

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
