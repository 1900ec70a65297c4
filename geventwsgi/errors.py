"""The exceptions of geventwsgi. There is a class for each reaction of the catcher.

* :class:`RequestError`: the client's request is wrong; send an error response, then close.
* :class:`ClientDisconnected`: the client has left; count it, log at debug.
* :class:`ProxyHeaderError`: a connection does not begin with the PROXY header that it must have; close it.
* :class:`RequestTimeout`: the request took longer than allowed; 504, or an abort if the head has been sent.
* :class:`RequestEnded`: the operator has ended the request; 503, or an abort if the head has been sent.
* :class:`ResponseError`: the application broke PEP 3333; it is an application failure (500, traceback).
* :class:`StartupError`: print one line, exit with :attr:`StartupError.exit_status`, no respawn.
"""

from __future__ import annotations


class GeventWSGIError(Exception):
    """The base of every exception defined here."""


class RequestError(GeventWSGIError, OSError):
    """A request that is refused with an error status, after which the connection closes.

    It is an ``OSError`` because ``wsgi.input.read`` raises it, where frameworks expect one.

    :param status: the status code of the response (RFC 9110 section 15).
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
    """The client has left (end of stream, reset, or it stopped reading): no response can be sent."""


class RequestTimeout(BaseException):
    """The request's deadline (``request_timeout``) has passed; raised in the request's greenlet where it waits.

    It is derived from ``BaseException``, as ``gevent.Timeout`` is, so that ``except Exception`` in a framework does not
    catch it. ``finally`` blocks run.
    """


class RequestEnded(BaseException):
    """The operator has ended the request; raised as :class:`RequestTimeout` is."""


class ProxyHeaderError(GeventWSGIError, ValueError):
    """A connection does not begin with the PROXY header that it must have. It is closed, with one debug line."""


class ResponseError(GeventWSGIError, AssertionError):
    """The application's response breaks a rule of PEP 3333 or HTTP; the message names the rule."""


class StartupError(GeventWSGIError):
    """The server cannot start or continue; ``str(error)`` is the line to print, with cause and cure."""

    exit_status = 1


class ConfigError(StartupError):
    """A setting has a wrong value, or a configuration file cannot be used; the message names the source."""

    exit_status = 2


class BindError(StartupError):
    """An address or a certificate cannot be used (address in use, no permission, no such address)."""

    exit_status = 1


class WorkerBootError(StartupError):
    """A worker failed before it could serve, for a reason outside the application."""

    exit_status = 3


class AppLoadError(StartupError):
    """The application cannot be imported, found or called."""

    exit_status = 4


class Interrupted(BaseException):
    """Raised in others' code that the server waits for, when a signal ends the server."""


#: What ends a program, whichever code runs. All else that the operator's code raises is its failure.
ENDS = (KeyboardInterrupt, Interrupted)


def described(error: BaseException) -> str:
    """Return ``Class: message`` of an exception of the operator's code, whose ``__str__`` may fail."""
    name = type(error).__name__
    try:
        said = str(error).strip()
    except BaseException as fault:  # noqa: BLE001 - as traceback does
        said = f"(its __str__ raises {type(fault).__name__})"
    return f"{name}: {said}" if said else name
