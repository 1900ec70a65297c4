"""Tells each client what it finds: its own token in everything that it sends, and whatever an earlier request has left.

A request's token is in its path, a field, its cookie, its query and its body, and comes back in head and body. Some
requests leave their token in their greenlet, its thread, its context or the environ; most leave nothing, so that
greenlets are used again.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LOCAL = threading.local()
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="")
LOG = logging.getLogger("tells")


def found(environ: dict[str, Any], token: str) -> list[str]:
    """Return what earlier requests have left. To look into a local leaves something in it: few requests do."""
    me: Any = gevent.getcurrent()
    which = zlib.crc32(token.encode()) % 20
    seen = [VARIABLE.get(), getattr(me, "user", ""), environ.get("user", "")]
    if which == 19:
        seen.append(getattr(LOCAL, "user", ""))
    if which % 3 == 1:
        seen.append(getattr(threading.current_thread(), "user", ""))
    if which % 3 == 2:
        seen += [str(dict(me.spawn_tree_locals) or ""), str(dict(me.kwargs) or "")]
    return seen


def leave(environ: dict[str, Any], token: str) -> None:
    """Leave the token somewhere, or nothing anywhere; which, the token decides."""
    me: Any = gevent.getcurrent()
    match zlib.crc32(token.encode()) % 20:
        case 0:
            LOCAL.user = token
        case 1:
            threading.current_thread().user = token
        case 2:
            me.user = token
        case 3:
            me.spawn_tree_locals["user"] = token
        case 4:
            me.kwargs["user"] = token
        case 5:
            gevent.spawn_later(0.002, lambda: gevent.getcurrent().spawn_tree_locals.update(user=token))
        case 6:
            LOG.info("%s", token)
    VARIABLE.set(token)
    environ["user"] = environ["PATH_INFO"] = token


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer ``/KIND/TOKEN``."""
    _, kind, token = environ["PATH_INFO"].split("/")
    before = found(environ, token)
    told = [token, environ["HTTP_X_TOKEN"], environ["QUERY_STRING"], environ.get("HTTP_COOKIE", "")]
    if kind != "unread":
        told.append(environ["wsgi.input"].read().decode())
    leave(environ, token)
    if kind == "sleep":
        time.sleep(zlib.crc32(token.encode()) % 5 / 1000)
    if kind == "hints":
        environ["wsgi.early_hints"]([("Link", f"</{token}>; rel=preload")])
    if kind == "fail":
        raise ValueError(token)
    pieces = "\n".join([*told, "found:", *before]).encode()
    fields = [("X-Token", token), ("Set-Cookie", f"user={token}")]
    if kind not in ("stream", "break"):
        start_response("200 OK", [*fields, ("Content-Length", str(len(pieces)))])
        return [pieces]
    start_response("200 OK", fields)
    return streamed(pieces, token if kind == "break" else "")


def streamed(data: bytes, failing: str) -> Iterator[bytes]:
    """Yield data in pieces, between which other requests run; fail before the last one."""
    for start in range(0, len(data), 16):
        gevent.sleep(0)
        yield data[start : start + 16]
        if failing:
            raise ValueError(failing)
