"""``/``: the live page, one file that loads nothing else; ``/events``: the data for it, each second.

The page sets all that it shows as text. Its script and its style are allowed by their hashes, and nothing else is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

from geventwsgi import __version__
from geventwsgi.observe.tally import DURATION, LAG
from geventwsgi.system.process import cpu_seconds, resident

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from geventwsgi.observe.tally import Tallies
    from geventwsgi.observer.view import View
    from geventwsgi.system.shared import Slot

#: Seconds between two events.
INTERVAL = 1.0
#: Pages that may be open at a time. Each takes one of the requests that the observer serves (``life.py``).
MOST = 20
#: Seconds after which a loop that does not turn is shown as blocked.
STANDS = 0.5
_FILE = os.path.join(os.path.dirname(__file__), "page.html")


class Dashboard:
    """The page of one server.

    :param headers: those of every answer, without the policy for contents.
    """

    def __init__(self, view: View, tallies: Tallies, headers: list[tuple[str, str]]) -> None:
        self._view = view
        self._tallies = tallies
        self._headers = headers
        self._open = 0

    def page(self, pages: Iterable[str], start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the page.

        :param pages: the paths that it may ask for.
        """
        with open(_FILE, encoding="utf-8") as file:
            html = file.read()
        policy = "default-src 'none'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
        for kind in ("script", "style"):
            text = re.search(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
            digest = hashlib.sha256(text[1].encode() if text else b"").digest()
            policy += f"; {kind}-src 'sha256-{base64.b64encode(digest).decode()}'"
        html = html.replace('data-pages="PAGES"', f'data-pages="{" ".join(sorted(pages))}"')
        # The widths of the bars are set by the script, which the policy allows.
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy), *self._headers]
        start_response("200 OK", headers)
        return [html.encode()]

    def events(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with server-sent events, until the client leaves or the observer ends."""
        if self._open >= MOST:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain"), *self._headers])
            return [b"%d pages are open, which is the most: close another one, or scrape /metrics.\n" % MOST]
        start_response("200 OK", [("Content-Type", "text/event-stream"), *self._headers])
        return self._stream(environ["geventwsgi.server"].draining)

    def _stream(self, draining: Any) -> Iterator[bytes]:
        self._open += 1
        try:
            yield b"retry: 500\n\n"
            while True:
                yield f"data: {json.dumps(snapshot(self._view, self._tallies))}\n\n".encode()
                if draining.wait(INTERVAL):
                    return
        finally:
            self._open -= 1


def snapshot(view: View, tallies: Tallies) -> dict[str, Any]:
    """Return what the page shows."""
    totals = tallies.totals()
    requests = totals.requests()
    return {
        "time": time.monotonic(),
        "version": __version__,
        "master": view.master,
        "uptime": time.monotonic() - view.started,
        "workers": [_worker(slot, tallies) for slot in view.slots.taken()],
        "totals": {
            "requests": sum(requests.values()),
            "errors": sum(number for (_, status), number in requests.items() if status == "5xx"),
            "restarts": sum(totals.counters("restarts").values()),
            "backlog": totals.gauge("backlog"),
        },
        "bounds": tallies.bounds,
        "duration": totals.buckets(DURATION),
        "lag": totals.buckets(LAG),
    }


def _worker(slot: Slot, tallies: Tallies) -> dict[str, Any]:
    now = time.monotonic_ns()
    turned = tallies.gauge(slot.index, "turned")
    stands = (now - turned) / 1e9 if turned else 0.0
    return {
        "pid": slot.pid,
        "stage": slot.stage,
        "age": (now - slot.born) / 1e9,
        "requests": slot.requests,
        "connections": slot.connections,
        "served": slot.served,
        "cpu": cpu_seconds(slot.pid),
        "memory": resident(slot.pid),
        "blocked": stands if stands > STANDS else 0,
        **{gauge: tallies.gauge(slot.index, gauge) for gauge in ("queued", "held", "websockets")},
    }
