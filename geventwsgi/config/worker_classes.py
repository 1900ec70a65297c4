"""Names of gunicorn's worker classes: those that the gevent worker replaces, and why others are refused.

Imports no worker.
"""

from __future__ import annotations

from typing import Any

#: Names that mean our worker.
GEVENT = ("gevent", "gevent_wsgi", "gevent_pywsgi")
#: The worker of Flask-SocketIO's documentation, which puts ``wsgi.websocket`` into the environ.
WEBSOCKET = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
#: Workers whose requests run beside each other, as ours do.
CONCURRENT = (
    "gthread", "gunicorn.workers.gthread.ThreadWorker",
    "eventlet", "gunicorn.workers.geventlet.EventletWorker",
    "gunicorn.workers.ggevent.GeventWorker", "gunicorn.workers.ggevent.GeventPyWSGIWorker", WEBSOCKET,
)  # fmt: skip
_SYNC = ("sync", "gunicorn.workers.sync.SyncWorker")
#: Prefixes of other servers' worker classes, and the kind of applications that these serve.
_FOREIGN = {
    "uvicorn": "ASGI applications", "uvicorn_worker": "ASGI applications", "asgi": "ASGI applications",
    "aiohttp": "aiohttp's applications", "tornado": "Tornado's applications", "meinheld": "meinheld's loop",
    "gunicorn.workers.gtornado": "Tornado's applications", "gunicorn.workers.gasgi": "ASGI applications",
}  # fmt: skip


def name_of(given: Any) -> str:
    """Return the name of a class, given as such or as text: ``MODULE.CLASS``, or gunicorn's short name."""
    if isinstance(given, type):
        return f"{given.__module__}.{given.__qualname__}"
    return str(given).strip().removeprefix("egg:gunicorn#").replace(":", ".")


def known(given: Any) -> str | None:
    """Return the name of a worker that ours stands in for, None if it is none of them."""
    name = name_of(given)
    return "gevent" if name in GEVENT else name if name in CONCURRENT else None


def refusal(given: Any) -> str | None:
    """Return why a worker of gunicorn or of another server is not stood in for, None if nothing is known of it."""
    name = name_of(given)
    if name in _SYNC:
        return (
            "sync runs one request at a time, and here requests run beside each other, which an application must be "
            "ready for: write gevent (-k gevent) if yours is"
        )
    for start, served in _FOREIGN.items():
        if name == start or name.startswith(f"{start}."):
            return f"{name} is a worker for {served}; here WSGI applications are served: write gevent for one"
    return None


def note(name: Any) -> str | None:
    """Return the warning for a worker that ours stands in for, None if there is nothing to warn of."""
    if name not in CONCURRENT:
        return None
    sockets = ", and wsgi_websocket is on" if name == WEBSOCKET else ""
    return f"worker_class {name} is served by gevent: requests run beside each other as greenlets{sockets}"
