"""Which pages each address has. The control socket alone can end a request, reload, reopen, stop, change the workers.

Whoever can open the socket may do it: its permissions are ``control_socket_mode``.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from geventwsgi.observer import MOST
from geventwsgi.observer.asking import ask_all
from geventwsgi.observer.live import asked_for, requests_page
from geventwsgi.observer.pages import Pages, document, pages_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from geventwsgi.observer.pages import Page
    from geventwsgi.observer.view import View

_ACCEPTED = "202 Accepted"
_UNKNOWN = "there is no such request, or its worker does not answer: /requests names those that are there"


def admin_pages_of(view: View) -> Pages:
    """Return the pages for ``admin_bind``, which only read."""
    return Pages({**pages_of(view).pages, "/requests": requests_page(view, queries=False)})


def control_pages_of(view: View) -> Pages:
    """Return the pages for ``control_socket``."""
    orders: dict[str, Page] = {
        "/reload": _order(view, signal.SIGHUP, "the server reloads"),
        "/reopen": _order(view, signal.SIGUSR1, "the logs are reopened"),
        "/stop": _order(view, signal.SIGTERM, "the server stops"),
        "/workers": _workers(view),
        "/end": _end(view),
    }
    reads: dict[str, Page] = {
        **pages_of(view).pages,
        "/requests": requests_page(view, queries=True),
        "/stack": _stack(view),
        "/stacks": _stacks(view),
    }
    return Pages({**reads, **orders}, dict.fromkeys(orders, ("POST",)))


def _order(view: View, number: int, told: str) -> Page:
    def page(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        view.order(number)
        return text(start_response, _ACCEPTED, told)

    return page


def _workers(view: View) -> Page:
    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            by = int(asked_for(environ).get("by", ""))
        except ValueError:
            by = 0
        if not 0 < abs(by) <= MOST:
            return text(start_response, "400 Bad Request", f"by is a number from -{MOST} to {MOST}, and not 0")
        for _ in range(abs(by)):
            view.order(signal.SIGTTIN if by > 0 else signal.SIGTTOU)
        return text(start_response, _ACCEPTED, f"{abs(by)} worker{'s' if abs(by) > 1 else ''} {_direction(by)}")

    return page


def _direction(by: int) -> str:
    return "more" if by > 0 else "fewer, but one stays"


def _with_id(view: View, ask: str, use: Callable[[StartResponse, dict[str, Any]], Iterable[bytes]]) -> Page:
    """Return a page that asks the worker of a request, whose ``id`` begins with its pid, about it."""

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        identity = asked_for(environ).get("id", "")
        pid = identity.partition("-")[0]
        answer = ask_all(view, {"ask": ask, "id": identity}, int(pid)) if pid.isdecimal() and len(pid) < 11 else {}
        found = next(iter(answer.values()), None)
        if found is None or not found.get({"end": "ended"}.get(ask, ask)):
            return text(start_response, "404 Not Found", _UNKNOWN)
        return use(start_response, found)

    return page


def _end(view: View) -> Page:
    return _with_id(view, "end", lambda start_response, _found: text(start_response, _ACCEPTED, "the request is ended"))


def _stack(view: View) -> Page:
    return _with_id(view, "stack", lambda start_response, found: document(start_response, {"stack": found["stack"]}))


def _stacks(view: View) -> Page:
    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        pid = asked_for(environ).get("worker", "")
        if pid and not (pid.isdecimal() and len(pid) < 11):
            return text(start_response, "400 Bad Request", "worker is a process id")
        answers = ask_all(view, {"ask": "stacks"}, int(pid) if pid else None)
        return document(start_response, {str(pid): answer and answer["stacks"] for pid, answer in answers.items()})

    return page
