"""The server's own answer to a balancer's probe (``health_path``): 200 while requests are welcome, 503 when not.

It takes no place among the requests in flight, so that a worker full of slow requests is not taken for a dead one; the
application and the access log never see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geventwsgi.http import encode
from geventwsgi.wsgi.exchange import ResponseHead

if TYPE_CHECKING:
    from geventwsgi.serving.http1_exchange import Http1Exchange
    from geventwsgi.serving.service import Service

METHODS = ("GET", "HEAD")
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]


def answer(exchange: Http1Exchange, service: Service) -> bool:
    """Answer a request for ``health_path``; return whether it was a probe (other methods are the application's)."""
    if exchange.head.method not in METHODS:
        return False
    ready = service.is_ready() and not service.draining
    body = b"ready\n" if ready else b"draining\n"
    code = 200 if ready else 503
    exchange.start(ResponseHead(encode.status_line(code), code, HEADERS), len(body))
    exchange.write(body)
    exchange.finish()
    return True
