"""The WSGI server for Python applications that hold connections open.

Only names live here, each imported at its first use: ``import geventwsgi`` neither starts gevent's hub nor patches
anything, so that an application may import it at any moment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geventwsgi import core
from geventwsgi.errors import (
    AppLoadError,
    BindError,
    ClientDisconnected,
    ConfigError,
    GeventWSGIError,
    RequestError,
    ResponseError,
    StartupError,
    WorkerBootError,
)

core.choose()

if TYPE_CHECKING:
    from geventwsgi.entry.embed import serve
    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.worker.worker import Worker

    __version__: str

__all__ = [
    "AppLoadError",
    "BindError",
    "ClientDisconnected",
    "ConfigError",
    "GeventWSGIError",
    "RequestError",
    "ResponseError",
    "StartupError",
    "WSGIServer",
    "Worker",
    "WorkerBootError",
    "__version__",
    "serve",
]

_HOMES = {
    "WSGIServer": "geventwsgi.serving.server",
    "Worker": "geventwsgi.worker.worker",
    "serve": "geventwsgi.entry.embed",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _find_version()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _find_version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 10 ms that few programs need

    try:
        return version("geventwsgi")
    except PackageNotFoundError:
        return "0+unknown"
