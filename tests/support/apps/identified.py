"""Says what the log knows about each request, after others had their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

if TYPE_CHECKING:
    from collections.abc import Iterable


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    gevent.sleep(0.001)
    environ["wsgi.errors"].write(f"in {environ['PATH_INFO']}\n")
    body = environ["HTTP_X_REQUEST_ID"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
