"""TLS as scripts for pywsgi set it: by ``ssl_args`` and ``wrap_socket``, attributes of a server that they assign.

Knows how a context comes from them; knows no socket. A server that was asked for TLS never serves without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from geventwsgi.config.sources import Config

#: Keywords of ``SSLContext.wrap_socket`` that scripts pass and that have no other value for a server.
_IMPLIED = ("server_side", "do_handshake_on_connect", "suppress_ragged_eofs")


class TLSAttributes:
    """What :class:`~geventwsgi.WSGIServer` has of TLS."""

    # Names of subclasses' own must not meet these.
    __config: Config
    __context: ssl.SSLContext | None = None
    __ssl_args: dict[str, Any] | None = None
    __wrap_socket: Callable[..., Any] | None = None

    @staticmethod
    def begin(server: TLSAttributes, config: Config) -> None:
        """Set what contexts are made by."""
        server.__config = config

    @staticmethod
    def context_of(server: TLSAttributes) -> ssl.SSLContext | None:
        """Return the context of a server's new connections, None for cleartext."""
        return server.__context

    @staticmethod
    def set_context(server: TLSAttributes, context: ssl.SSLContext) -> None:
        """Set it. To be called before the start."""
        server.__context = context

    @property
    def ssl_enabled(self) -> bool:
        """Whether the server speaks TLS, or was asked to."""
        return self.__context is not None or self.__ssl_args is not None

    @property
    def ssl_args(self) -> dict[str, Any] | None:
        """The arguments of TLS, None for cleartext; may be assigned before the server starts.

        :raises ConfigError: a file cannot be used, or an argument is unknown.
        """
        if self.__ssl_args is None and self.__context is not None:
            self.__ssl_args = {"server_side": True}
        return self.__ssl_args

    @ssl_args.setter
    def ssl_args(self, arguments: Mapping[str, Any] | None) -> None:
        self.__ssl_args = None if arguments is None else dict(arguments)
        if arguments is None:
            self.__context = None
            return
        given = {name: value for name, value in arguments.items() if name not in _IMPLIED}
        context = given.pop("ssl_context", None)
        if context is not None or given.get("certfile"):
            self.__context = server_context(self.__config.replace(**given), context)

    @property
    def wrap_socket(self) -> Callable[..., Any]:
        """What wraps an accepted socket for ``handler_class``: the context's method, or a function of a script's own.

        An ``SSLContext``'s method that is assigned makes that context the server's, whatever serves.

        :raises ConfigError: a function without a context was assigned to a server without TLS.
        """
        if self.__wrap_socket is not None:
            return self.__wrap_socket
        if self.__context is None:
            raise ConfigError("wrap_socket: this server has no TLS: give it certfile and keyfile, or ssl_context")
        return self.__context.wrap_socket

    @wrap_socket.setter
    def wrap_socket(self, function: Callable[..., Any]) -> None:
        context = getattr(function, "__self__", None)
        if _is_context(context):
            self.__context = server_context(self.__config, context)
        elif self.__context is None:
            raise ConfigError("wrap_socket was given a function without a context: pass ssl_context to the server")
        self.__wrap_socket = function

    def require_tls(self) -> None:
        """Refuse to start without the TLS that was asked for.

        :raises ConfigError: there are ``ssl_args``, and nothing gave a certificate.
        """
        if self.__ssl_args is not None and self.__context is None:
            raise ConfigError("ssl_args names no certificate: add certfile and keyfile, or ssl_context")


def _is_context(given: Any) -> bool:
    return hasattr(given, "wrap_socket") and hasattr(given, "options")


def server_context(config: Config, given: Any) -> Any:
    """Return the context that was given, or one from the settings.

    :raises TypeError: what was given is no context.
    :raises BindError: a file is missing or does not hold what it should.
    """
    if not (given is None or _is_context(given)):
        raise TypeError(f"ssl_context is {given!r}: pass an ssl.SSLContext, or certfile and keyfile instead")
    from gevent.ssl import SSLContext  # takes 4 ms, which few workers need

    from geventwsgi.serving.wire.tls import make_context, noticing_cuts  # the same

    return make_context(config, SSLContext) if given is None else noticing_cuts(given)
