"""What a worker is doing: the requests, held responses and WebSockets of its connections.

Whoever looks at them keeps none: while other greenlets run, a reference to a request would be an owner of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.mesh.place import HERE
from geventwsgi.observe.outputs import request_id
from geventwsgi.wsgi.exchange import described

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geventwsgi.serving.accept.capacity import Guest
    from geventwsgi.serving.server import WSGIServer


class InFlight:
    """What one worker is doing.

    :param servers: returns its servers.
    """

    def __init__(self, servers: Callable[[], Sequence[WSGIServer]]) -> None:
        self._servers = servers

    def connections(self) -> list[Guest]:
        """Return the open connections."""
        return [connection for server in self._servers() for connection in server.guests()]

    def served_by(self, greenlet: Any) -> str:
        """Return what a greenlet serves, for a log: a request, or a task of the application; "" if it is neither.

        To be called in a signal handler, too.
        """
        if greenlet in HERE.tasks:
            return _task(HERE.tasks[greenlet])
        for connection in self.connections():
            if connection.greenlet is greenlet:
                for _, exchange in connection.in_flight():
                    return described(exchange)
        return ""

    def all(self) -> dict[Any, str]:
        """Return what each greenlet serves; a response that is held without one has another key."""
        requests = {greenlet: told for server in self._servers() for greenlet, told in server.in_flight().items()}
        return {**{greenlet: _task(name) for greenlet, name in HERE.tasks.items()}, **requests}


def _task(name: str) -> str:
    return f"the background task {name}"


def identity_of(greenlet: Any) -> str | None:
    """Return the identity of the request that another greenlet serves; None if it has none."""
    try:
        context = greenlet.gr_context
    except ValueError:  # all that it runs is compiled: it waits for its turn
        return None
    return None if context is None else context.get(request_id.CURRENT)
