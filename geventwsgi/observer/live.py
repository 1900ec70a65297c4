"""``/requests``: every request, held response and WebSocket of all workers, the oldest first, by page."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from geventwsgi.observer.asking import ask_all
from geventwsgi.observer.pages import document, text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from geventwsgi.observer.asking import Answer
    from geventwsgi.observer.view import View

#: Requests of one page by default, and at the most.
LIMIT, MOST = 100, 1000


def requests_page(view: View, *, queries: bool) -> Any:
    """Return the page.

    :param queries: whether it shows what follows the path of a request, which may be secret.
    """

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = asked_for(environ)
        try:
            limit, after = min(max(1, int(asked.get("limit", LIMIT))), MOST), float(asked.get("after", 0))
            pid = int(asked["worker"]) if "worker" in asked else None
        except ValueError:
            return text(start_response, "400 Bad Request", "limit, after and worker are numbers")
        answers = ask_all(view, {"ask": "requests", "limit": limit, "after": after}, pid)
        rows = [row for answer in answers.values() if answer for row in answer["rows"]]
        first = nsmallest(limit, rows, key=lambda row: row["since"])
        more = first[-1]["since"] if len(first) == limit and len(rows) >= limit else None
        if not queries:
            first = [{name: value for name, value in row.items() if name != "query"} for row in first]
        workers = [_state(pid, answer) for pid, answer in sorted(answers.items())]
        return document(start_response, {"requests": first, "next": more, "workers": workers})

    return page


def asked_for(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the parameters of a request's query; if a name comes twice, its last value."""
    return {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}


def _state(pid: int, answer: Answer | None) -> dict[str, Any]:
    """Return whether a worker's loop turns. One that is stuck in compiled code, or stopped, does not answer."""
    if answer is None:
        return {"pid": pid, "state": "silent"}
    if "blocked_at" in answer:
        return {"pid": pid, "state": "blocked", "at": answer["blocked_at"], "for": answer["blocked_for"]}
    return {"pid": pid, "state": "answers"}
