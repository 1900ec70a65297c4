"""The observer's pages by path: a WSGI application that changes nothing and tells no more than its pages do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from geventwsgi.observer.view import View

    #: Answers one request as a WSGI application does.
    Page = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

READS = ("GET", "HEAD")
#: Of every answer: nothing of it is kept, guessed at, framed, or loaded from elsewhere.
HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
]


class Pages:
    """Answers by the page of a request's path.

    :param pages: by path.
    :param methods: what each page may be asked by; for one that is left out, :data:`READS`.
    """

    def __init__(self, pages: dict[str, Page], methods: dict[str, tuple[str, ...]] | None = None) -> None:
        self.pages = pages
        self._methods = methods or {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """See PEP 3333."""
        path = environ["PATH_INFO"]
        page = self.pages.get(path)
        if page is None:
            return text(start_response, "404 Not Found", "Pages: " + " ".join(sorted(self.pages)))
        methods = self._methods.get(path, READS)
        if environ["REQUEST_METHOD"] not in methods:
            return text(start_response, "405 Method Not Allowed", f"Methods: {', '.join(methods)}", methods)
        return page(environ, start_response)


def text(start_response: StartResponse, status: str, line: str, allow: tuple[str, ...] = ()) -> Iterable[bytes]:
    """Answer with one line."""
    more = [("Allow", ", ".join(allow))] if allow else []
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *more, *HEADERS])
    return [f"{line}\n".encode()]


def document(start_response: StartResponse, value: Any, status: str = "200 OK") -> Iterable[bytes]:
    """Answer with JSON. Characters beyond ASCII and those of HTML are escaped, whatever a client has sent."""
    start_response(status, [("Content-Type", "application/json"), *HEADERS])
    data = json.dumps(value, indent=1)
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    return [f"{data}\n".encode()]


def pages_of(view: View) -> Pages:
    """Return the pages that only read, for ``admin_bind``."""
    return Pages({"/status": lambda _environ, start_response: document(start_response, view.status())})
