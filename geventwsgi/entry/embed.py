"""Serve from a script, with a master and workers like the command."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from geventwsgi.config.sources import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.master.kin import Kin


def serve(app: str | Callable[..., Any], **settings: Any) -> int:
    """Serve ``app`` with master and workers until a signal ends it; return the exit status.

    Example::

        if __name__ == "__main__":
            sys.exit(serve("project:app", bind="127.0.0.1:8000", workers=2))

    :param app: the application, or (better) ``"module:app"``: each worker then patches the standard library before it
        imports the module, and HUP loads it again. An application object has imported its modules unpatched. Then this
        process is patched, and stays so.
    :param settings: any setting by its name; see the documentation's list.
    :raises RuntimeError: called outside the main thread, where Python handles no signals.
    :raises TypeError: ``app`` is neither a name nor callable.
    """
    if not (app is None or isinstance(app, str) or callable(app)):
        raise TypeError(f"serve() takes a WSGI application or 'MODULE:APP', not {app!r}, which cannot be called")
    name = app if isinstance(app, str) else None

    def load_config() -> Config:
        return Config.of(**settings, wsgi_app=name)

    return serve_with(load_config, None if isinstance(app, str) else app)


def serve_with(load_config: Callable[[], Config], application: Callable[..., Any] | None) -> int:
    """Serve until a signal ends it; return the exit status.

    :param load_config: reads the configuration; called at the start and at every HUP.
    :param application: None for the one that the configuration names.
    :raises RuntimeError: called outside the main thread.
    """
    _check_thread()
    if hasattr(os, "fork"):
        from geventwsgi.master.arbiter import Arbiter

        kin = _former.pop() if _former else None
        return Arbiter(load_config, application, kin if kin is not None and kin.parent_lives else None).run()
    from geventwsgi.entry.single import run_single

    return run_single(load_config, application)


def _predecessors() -> list[Kin]:
    """Take what a master has told this program (``USR2``) out of the environment."""
    if not hasattr(os, "fork"):
        return []
    from geventwsgi.master.kin import Kin

    return [Kin(os.environ)]


#: The masters before this one, for the first call. They are asked for when this is imported, so that processes that a
#: script starts before it serves inherit nothing of an upgrade.
_former = _predecessors()


def _check_thread() -> None:
    try:
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1))
    except ValueError:
        raise RuntimeError(
            "serve() handles signals and must run in the main thread; in another thread, use WSGIServer"
        ) from None
