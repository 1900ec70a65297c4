"""Every exception that geventwsgi defines, told apart by what its catcher does.

* :class:`RequestError`: the client sent something wrong; answer it, then close.
* :class:`ClientDisconnected`: nobody is left to answer; count it, log at debug.
* :class:`ProxyHeaderError`: a connection does not begin as the proxy in front must begin it; close it.
* :class:`RequestTimeout`: the request took longer than it may; 504, or an abort once the head has left.
* :class:`ResponseError`: the application broke PEP 3333; it is an application failure (500, traceback).
* :class:`StartupError`: print one line, exit with :attr:`StartupError.exit_status`, no respawn.
"""

from __future__ import annotations


class GeventWSGIError(Exception):
    """The base of every exception defined here."""


class RequestError(GeventWSGIError, OSError):
    """A request that is refused with an error status, after which the connection closes.

    It is an ``OSError`` because an application meets it in ``wsgi.input.read``, where frameworks expect one.

    :param status: the status code to answer with (RFC 9110 section 15).
    :param reason: one sentence for the error page and the debug log; never echoes unescaped client bytes.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        #: Whether the request is known to be a HEAD although its head is refused: then the answer has no content.
        self.head_only = False

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class ClientDisconnected(GeventWSGIError, ConnectionError):
    """The client is gone (end of stream, reset, or it stopped reading): there is nobody to answer."""


class RequestTimeout(BaseException):
    """The request's deadline (``request_timeout``) has passed: raised in its greenlet, where that waits.

    No ``Exception``, as ``gevent.Timeout`` is none: a framework that turns every failure into a page of its own must
    not take it for one. ``finally`` blocks run.
    """


class ProxyHeaderError(GeventWSGIError, ValueError):
    """A connection does not begin with a PROXY header as it must: it is closed, with one debug line."""


class ResponseError(GeventWSGIError, AssertionError):
    """The application's response breaks PEP 3333 or HTTP (the message says how)."""


class StartupError(GeventWSGIError):
    """The server cannot start or go on; ``str(error)`` is the one line to print, cause and cure."""

    exit_status = 1


class ConfigError(StartupError):
    """A setting has a wrong value, or a configuration file cannot be used; names its source."""

    exit_status = 2


class BindError(StartupError):
    """An address cannot be listened on (in use, no permission, no such address, no certificate)."""

    exit_status = 1


class WorkerBootError(StartupError):
    """A worker failed before it could serve, for a reason other than the application."""

    exit_status = 3


class AppLoadError(StartupError):
    """The application cannot be imported, found or called."""

    exit_status = 4
