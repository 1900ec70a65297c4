"""The observer's pages by path: a WSGI application that changes nothing and shows nothing but its pages."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from geventwsgi.observer.dashboard import Dashboard
from geventwsgi.observer.exposition import exposition, preferred
from geventwsgi.observer.metrics import families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from geventwsgi.observe.tally import Tallies
    from geventwsgi.observer.view import View

    #: Answers one request as a WSGI application does.
    Page = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

READS = ("GET", "HEAD")
#: Headers of every answer: a browser must not cache it, guess its type, show it in a frame, or load anything for it.
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
        if _is_rebound(environ):
            return text(start_response, "421 Misdirected Request", "Ask by an IP address or by localhost.")
        path = environ["PATH_INFO"]
        page = self.pages.get(path)
        if page is None:
            return text(start_response, "404 Not Found", "Pages: " + " ".join(sorted(self.pages)))
        methods = self._methods.get(path, READS)
        if environ["REQUEST_METHOD"] not in methods:
            return text(start_response, "405 Method Not Allowed", f"Methods: {', '.join(methods)}", methods)
        environ["observer.pages"] = self.pages
        return page(environ, start_response)


def _is_rebound(environ: WSGIEnvironment) -> bool:
    """Return whether a browser on this machine was led here by the name of another site (DNS rebinding).

    Otherwise the scripts of that site could read the answer.
    """
    peer, host = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_HOST", "")
    if not (peer == "::1" or peer.startswith("127.")) or not host:
        return False
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return str(name).lower() != "localhost"
    return False


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
    pages: dict[str, Page] = {"/status": lambda _environ, start_response: document(start_response, view.status())}
    tallies = view.tallies
    if tallies is not None:
        dashboard = Dashboard(view, tallies, [header for header in HEADERS if header[0] != "Content-Security-Policy"])
        pages["/metrics"] = lambda environ, start_response: _metrics(view, tallies, environ, start_response)
        pages["/events"] = dashboard.events
        pages["/"] = lambda environ, start_response: dashboard.page(environ["observer.pages"], start_response)
    return Pages(pages)


def _metrics(view: View, tallies: Tallies, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    kind = preferred(environ.get("HTTP_ACCEPT", ""))
    data = exposition(families(view, tallies), kind).encode()
    start_response("200 OK", [("Content-Type", kind), *HEADERS])
    return [data]
