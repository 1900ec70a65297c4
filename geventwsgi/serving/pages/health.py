"""The server's own answer to a balancer's probe (``health_path``): 200 while requests are welcome, 503 when not.

It takes no place among the requests in flight: a worker full of slow requests is not taken for a dead one. The
application and the access log never see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.http import encode
from geventwsgi.wsgi.exchange import ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.wsgi.exchange import Exchange

METHODS = ("GET", "HEAD")
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]


class Health:
    """The page: called with a request, it answers that.

    :param is_ready: tells whether requests are welcome.
    """

    __slots__ = ("_is_ready",)

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready

    def __call__(self, exchange: Exchange) -> bool:
        """Answer a request; return whether it was a probe (other methods are the application's)."""
        if exchange.head.method not in METHODS:
            return False
        ready = self._is_ready()
        body = b"ready\n" if ready else b"draining\n"
        code = 200 if ready else 503
        exchange.start(ResponseHead(encode.status_line(code), code, HEADERS), len(body))
        exchange.write(body)
        exchange.finish()
        return True
