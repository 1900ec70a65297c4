"""Work that goes on after the response, and that a worker which ends finishes (:func:`background`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent

from geventwsgi.clock import monotonic
from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from collections.abc import Callable


def background(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> gevent.Greenlet[Any, Any]:
    """Call ``function(*args, **kwargs)`` in a new greenlet, for which a worker that ends waits.

    It waits up to ``graceful_timeout`` together with its requests; what still runs then ends by ``GreenletExit``, and a
    line in the log names it. A failure is logged with its traceback.

    :returns: the greenlet. Its value is what the function returns, None after a failure.
    """
    greenlet = gevent.Greenlet(_call, function, args, kwargs)
    HERE.tasks[greenlet] = str(getattr(function, "__qualname__", None) or repr(function))
    greenlet.rawlink(_forget)
    greenlet.start()
    return greenlet


def finish(seconds: float) -> list[str]:
    """Wait until all tasks have ended, those included that begin meanwhile; end the others.

    :param seconds: the most to wait.
    :returns: the names of those that were ended.
    """
    end = monotonic() + seconds
    while HERE.tasks and monotonic() < end:
        gevent.joinall(list(HERE.tasks), timeout=max(0, end - monotonic()))
    cut = dict(HERE.tasks)
    gevent.killall(list(cut), block=False)
    return list(cut.values())


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except gevent.GreenletExit:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit included: it is one task's failure, not the worker's
        HERE.complain("The background task %s failed", HERE.tasks.get(gevent.getcurrent()), error=error)
        return None


def _forget(greenlet: Any) -> None:
    HERE.tasks.pop(greenlet, None)
