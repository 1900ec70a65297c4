"""Serves the marks of ``tests.support.marks``: ``GET /NAME?USER`` leaves one, ``GET /NAME`` looks for it.

As a program it is a script that patches nothing. With ``UNCHECKED`` in the process's environment the server does not
look for marks, which shows that all would be found then.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from gevent import GreenletExit

from tests.support.marks import contexts, greenlets, holders, libraries
from tests.support.marks import threads as thread_marks
from tests.support.marks.table import MARKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MARKS", "application", "contexts", "greenlets", "holders", "libraries", "thread_marks"]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call the function that the path names; ``/end`` ends the greenlet, ``/name`` logs a line and tells its thread."""
    if environ["PATH_INFO"] == "/end":
        raise GreenletExit
    try:
        found = (
            name()
            if environ["PATH_INFO"] == "/name"
            else str(MARKS[environ["PATH_INFO"][1:]].request(environ["QUERY_STRING"]))
        )
    except ValueError:
        start_response("500 Failed", [("Content-Length", "0")], sys.exc_info())
        return [b""]
    start_response("200 OK", [("Content-Length", str(len(found)))])
    return [found.encode()]


def name() -> str:
    """Log a line, as most requests do, and return the name of the thread, which was made for it."""
    logging.getLogger("leaves").warning("A line")
    return threading.current_thread().name


def serve(**settings: Any) -> None:
    """Serve as a script does; say on stderr what ``gwsgi`` says."""
    from geventwsgi import WSGIServer

    server = WSGIServer(("127.0.0.1", 0), application, log=None, **settings)
    server.start()
    sys.stderr.write(f"Listening at: http://127.0.0.1:{server.server_port}\nWorker ready (pid: {os.getpid()})\n")
    sys.stderr.flush()
    server.serve_forever()


def check_nothing() -> None:
    """Have the server look for no mark, as if no greenlet ever bore one (the Python core alone can)."""
    from geventwsgi.serving.loop import marks, runners

    class Untouched:
        def __init__(self, _me):
            pass

        def renew(self, _me):
            pass

    checks: Any = marks
    checks.has_context = checks.marked = lambda *_: False
    checks.fresh = lambda *_: True
    checks.references = lambda _: 0
    runners.ThreadObject = Untouched


if os.environ.get("UNCHECKED"):
    check_nothing()

if __name__ == "__main__":
    serve()
