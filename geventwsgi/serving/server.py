"""WSGIServer: accept connections, keep count of them, drain them. The embedding API.

Puts the parts of this folder together and offers them with the arguments, methods and attributes that
``gevent.pywsgi.WSGIServer`` has, so that scripts need change no more than their import.
"""

from __future__ import annotations

import logging
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from gevent import GreenletExit, sleep
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import socket as GeventSocket
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.config.sources import Config
from geventwsgi.errors import ConfigError
from geventwsgi.forks import displace, hold, keep, release
from geventwsgi.http.limits import Leniency, Limits
from geventwsgi.observe.log import ErrorStream, Logger, stream_logger
from geventwsgi.observe.recorder import recorder
from geventwsgi.serving.acceptor import Acceptor
from geventwsgi.serving.capacity import Capacity
from geventwsgi.serving.connection import LAST_CALL
from geventwsgi.serving.deadlines import Deadlines
from geventwsgi.serving.disarm import disarm
from geventwsgi.serving.poller import poller
from geventwsgi.serving.prologue import ProxyProtocol
from geventwsgi.serving.runners import OneEach, Runners
from geventwsgi.serving.service import ServerView, Service, Timeouts
from geventwsgi.serving.sockets import deferred, end_deferral, prepare
from geventwsgi.serving.tls_attributes import TLSAttributes, server_context
from geventwsgi.serving.trust import trust
from geventwsgi.wsgi.environ import EnvironBuilder
from geventwsgi.wsgi.gateway import Gateway, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geventwsgi.serving.sockets import Socket

#: SERVER_SOFTWARE. No version: it helps nobody but attackers.
SOFTWARE = "geventwsgi"
#: A head may be as long as this, or as its two largest lines where those are allowed to be longer.
MIN_HEAD = 65536
#: What a watcher of the loop waits for.
READ = 1
#: Seconds between two looks for clients that have connected and said nothing yet.
AGAIN = 0.02
#: Seconds that a greenlet gets to end after it was killed.
KILL_MARGIN = 1.0
#: Requests that are named in the log when they are cut.
NAMED = 100


class WSGIServer(TLSAttributes, StreamServer):  # type: ignore[misc]  # ssl_args may be assigned here
    """Serve a WSGI application from greenlets of this process.

    Example::

        WSGIServer(("127.0.0.1", 8000), application).serve_forever()

    :param listener: ``(host, port)``, ``"host:port"``, ``":port"``, a port, or a listening socket.
    :param application: the WSGI application (PEP 3333).
    :param backlog: the length of the listen queue; None for the setting's.
    :param spawn: "default", the largest number of connections, a pool, or a callable that starts a greenlet.
    :param log: where access lines go: "default" (standard error), None, a stream, or a ``logging.Logger``.
    :param error_log: the same for errors; also ``wsgi.errors``.
    :param handler_class: a subclass of ``gevent.pywsgi.WSGIHandler``, which then speaks gevent's protocol code
        instead of ours.
    :param environ: entries for every request's environ.
    :param config: all settings at once; excludes ``settings``.
    :param logger: a logger to use instead of ``log`` and ``error_log``.
    :param worker: what hooks get as their ``worker`` argument.
    :param capacity: the bounds on requests and connections, where several servers share them.
    :param is_ready: whether ``health_path`` is to say that requests are welcome; when the server drains, they are not.
    :param settings: any setting by name (``keepalive=5``, ``certfile="cert.pem"``), or pywsgi's ``ssl_context``.
    :raises ConfigError: a setting is unknown or its value wrong.
    :raises BindError: a TLS file cannot be used.
    """

    base_env: ClassVar[Mapping[str, Any]] = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": SOFTWARE,
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ_class: type[dict[str, Any]] = dict
    #: What a ``handler_class`` shows of the environ of a failure; for dict, gevent's class that hides secrets.
    secure_environ_class: type[dict[str, Any]] = dict
    handler_class: Any = None
    #: Seconds that :meth:`stop` waits for requests in flight.
    stop_timeout = 1

    def __init__(
        self, listener: Any, application: Any = None, backlog: int | None = None, spawn: Any = "default",
        log: Any = "default", error_log: Any = "default", handler_class: Callable[..., Any] | None = None,
        environ: Mapping[str, Any] | None = None, *, config: Config | None = None, logger: Logger | None = None,
        worker: Any = None, capacity: Capacity | None = None, is_ready: Callable[[], bool] = lambda: True,
        **settings: Any,
    ) -> None:  # fmt: skip
        if spawn is None:
            raise TypeError("spawn=None would run the application in the hub, where nothing can wait: leave it out")
        if not (spawn == "default" or isinstance(spawn, int) or hasattr(spawn, "spawn") or callable(spawn)):
            raise TypeError(f"spawn is {spawn!r}: pass 'default', a number, a pool, or what starts a greenlet")
        ssl_context = settings.pop("ssl_context", None)
        settings.pop("server_side", None)  # as for ssl.wrap_socket, which pywsgi's scripts pass on
        self.config = config or Config.of(**settings)
        self.logger = logger or stream_logger(log, error_log, self.config)
        self.error_log = ErrorStream(self.logger, whose=_running)
        #: A ``handler_class`` writes its access lines here.
        self.log = ErrorStream(getattr(self.logger, "access_log", self.logger), logging.INFO, _running)
        self._worker = worker
        self._is_ready = is_ready
        self._capacity = capacity or Capacity.of(self.config)
        self._view = ServerView()
        #: A pool bounds connections, so that each keeps its place while it is idle; and so for a callable.
        self._keeps_greenlets = spawn != "default"
        #: The parts that accept and serve. Made when accepting begins: processes that are forked before share none.
        self._acceptor: Acceptor | None = None
        self._service: Service | None = None
        #: Clients' sockets in the hands of ``handler_class``.
        self._handled: set[Any] = set()
        self._wrap = _websocket_wrapper(self.config)
        self._application = application
        if handler_class is not None:
            self.handler_class = handler_class
        if self.handler_class is not None and type(self).secure_environ_class is dict:
            from gevent.pywsgi import WSGISecureEnviron  # noqa: PLC0415 - for those handlers alone

            self.secure_environ_class = WSGISecureEnviron
        if self.handler_class is not None and self.config.proxy_protocol != "off":
            raise ConfigError("proxy_protocol: a handler_class reads the connection itself: leave one of them out")
        self._given_spawn = spawn
        super().__init__(listener, backlog=backlog, spawn=spawn)
        if ssl_context is not None or self.config.is_ssl:
            self.tls = server_context(self.config, ssl_context)
        if backlog is None:
            self.backlog = self.config.backlog
        self.set_environ(environ)
        self.set_max_accept()

    # pywsgi's attributes

    @property
    def application(self) -> Any:
        """The application; may be replaced while the server runs."""
        return self._application

    @application.setter
    def application(self, application: Any) -> None:
        self._application = application
        if self._service is not None:
            self._service.gateway.application = self._wrap(application)

    def set_environ(self, environ: Mapping[str, Any] | None = None) -> None:
        """Set what every environ starts from: ``base_env``, then ``environ``."""
        self.environ = self.environ_class(self.base_env)
        self.environ["wsgi.url_scheme"] = "https" if self.ssl_enabled else "http"
        self.environ["wsgi.errors"] = self.error_log
        self.environ["geventwsgi.server"] = self._view
        script_name = os.environ.get("SCRIPT_NAME", "")  # where the application is mounted, as for gunicorn
        self.environ["SCRIPT_NAME"] = os.fsencode(script_name).decode("latin-1")
        self.environ.update(environ or {})

    def get_environ(self) -> dict[str, Any]:
        """Return a copy of what every environ starts from."""
        return self.environ_class(self.environ)

    def update_environ(self) -> None:
        """Add what is known once the socket is bound: SERVER_NAME and SERVER_PORT, and TLS that a script assigned."""
        if self.ssl_enabled and self.environ["wsgi.url_scheme"] == "http":
            self.environ["wsgi.url_scheme"] = "https"
        name, port = "", ""
        if isinstance(self.address, tuple):
            name, port = self.address[0], str(self.address[1])
            if name in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
                name = socket.gethostname()
        self.environ.setdefault("SERVER_NAME", name)
        self.environ.setdefault("SERVER_PORT", port)

    def set_max_accept(self) -> None:
        """Accept one connection at a time where processes share the listener, so that all get their part."""
        if self.environ.get("wsgi.multiprocess"):
            self.max_accept = 1

    # Starting

    def init_socket(self) -> None:
        """Bind if need be. Called by :meth:`start`, also after a :meth:`stop`.

        Between this and :meth:`start_accepting` a script may fork, to serve at one address from several processes.
        """
        self.require_tls()
        super().init_socket()
        self._begin_anew()
        self.socket.setblocking(False)  # one that was given may be the standard library's, and accept would block all
        self.update_environ()
        if self.family != getattr(socket, "AF_UNIX", None):
            # A listener of reuse_port may be closed while others serve on, and would take along who has said nothing.
            prepare(self.socket, defer=not self.config.reuse_port)

    def _assemble(self) -> Acceptor:
        """Return what accepts, with all that serves behind it; put together at the first call."""
        if self._acceptor is None:
            acceptor = Acceptor(
                self.socket, self._capacity, self.logger, self._pause, self.max_accept,
                proxied=self.config.proxy_protocol != "off",
            )  # fmt: skip
            if self.handler_class is None:
                self._service = acceptor.service = self._make_service(acceptor)
            self._acceptor = acceptor
            keep(self)
        return self._acceptor

    def _begin_anew(self) -> None:
        """Make good what a :meth:`stop` has left: requests of that life stay told to drain, new ones are not."""
        if "_spawn" not in vars(self):  # gevent's close() takes it away, and a pool would bound nothing
            self.set_spawn(self._given_spawn)
        before = self._view
        if before.draining.is_set():
            self._view = ServerView()
            if self.environ.get("geventwsgi.server") is before:
                self.environ["geventwsgi.server"] = self._view

    def _make_service(self, acceptor: Acceptor) -> Service:
        config, logger = self.config, self.logger
        on_record = recorder(logger)
        events = poller(self.loop)
        events.complain = acceptor.unwatchable
        gateway = Gateway(
            self._wrap(self._application),
            EnvironBuilder(
                self.get_environ(), header_map=config.header_map, forwarder_headers=config.forwarder_headers
            ),
            logger,
            debug=config.debug,
            use_sendfile=config.sendfile and hasattr(os, "sendfile"),
            on_record=on_record,
            pre_request=self._hook("pre_request"),
            post_request=self._hook("post_request"),
            shows=type(logger).access is not Logger.access,
            errors=self.error_log,
            # A worker takes INT by its loop: there, KeyboardInterrupt is the application's own.
            interrupts=(KeyboardInterrupt, GreenletExit) if self._worker is None else (GreenletExit,),
        )
        return Service(
            gateway=gateway,
            limits=limits_of(config),
            leniency=leniency_of(config),
            timeouts=timeouts_of(config),
            poller=events,
            deadlines=Deadlines(self.loop),
            capacity=self._capacity,
            log=logger,
            software=config.server_header,
            tls=self.tls,
            proxies=proxies_of(config),
            ragged_eof_ends=config.suppress_ragged_eofs,
            trusts=trust(config.forwarded_allow_ips),
            secure_scheme_headers=config.secure_scheme_headers,
            on_record=on_record,
            cancels=config.on_disconnect == "cancel",
            half_close_ends=config.half_close == "gone",
            runners=self._make_runners(),
            keeps_greenlets=self._keeps_greenlets,
            greenlet_per_request=config.greenlet_per_request,
            health_path=config.health_path,
            is_ready=self._is_ready,
        )

    def _make_runners(self) -> Runners:
        if self._keeps_greenlets:
            return OneEach(self._spawn)  # type: ignore[attr-defined]  # StreamServer has it, its stubs have not
        return Runners(once=self.config.greenlet_per_request)

    def _hook(self, name: str) -> Callable[..., object] | None:
        """Return a server hook with its worker argument filled in; None if the operator gave none."""
        hook = self.config.hook(name)
        return None if hook is None else partial(hook, self._worker)

    # Accepting

    def start_accepting(self) -> None:
        """Watch the listening socket."""
        acceptor = self._assemble()
        if self._service is None or self._keeps_greenlets:
            super().start_accepting()  # which looks whether a pool is full
        elif self._watcher is None:  # gevent's own, with which it stops
            self._watcher: Any = self.loop.io(self.socket.fileno(), READ)
            self._watcher.start(acceptor.accept)

    def do_read(self) -> tuple[Socket, Any] | None:  # type: ignore[override]  # do_handle takes it
        """Accept one connection; None if there is none, or no room for one."""
        return self._assemble().take()

    def _pause(self, seconds: float) -> None:
        """Accept nothing for a moment. What waits in the backlog keeps waiting."""
        self.stop_accepting()
        self._timer = self.loop.timer(seconds)
        self._timer.start(self._accept_again)

    def _accept_again(self) -> None:
        if self._acceptor is not None and not self.closed:
            if self._capacity.balance is not None:
                self._capacity.balance.join()
            self.start_accepting()

    def do_handle(self, sock: Socket, address: Any) -> None:  # type: ignore[override]  # what do_read returns
        """Start serving an accepted connection."""
        acceptor = self._assemble()
        if self._service is not None:
            acceptor.begin(sock, address)
        else:
            super().do_handle(GeventSocket(fileno=sock.detach()), address)

    def handle(self, sock: Any, address: Any) -> None:
        """Serve a connection by ``handler_class``, with the steps that pywsgi's server takes."""
        self._handled.add(sock)
        try:
            self.handler_class(sock, address, self).handle()
        finally:
            self._handled.discard(sock)

    def wrap_socket_and_handle(self, sock: Any, address: Any) -> None:
        """Serve a connection over TLS by :meth:`handle`."""
        sock.settimeout(Timeouts().tls_handshake)
        try:
            tls_sock = self.wrap_socket(sock, server_side=True)
        except OSError as error:
            self.logger.debug("TLS handshake with %s failed: %s", address, error)
            return
        with tls_sock:
            tls_sock.settimeout(None)
            self.handle(tls_sock, address)

    # Counting and stopping

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._service.connections) if self._service is not None else 0

    @property
    def requests(self) -> int:
        """Requests in flight, of all servers that share the capacity."""
        return self._capacity.in_flight()

    @property
    def served(self) -> int:
        """Requests begun so far; those that ``handler_class`` serves are not counted."""
        return self._service.served if self._service is not None else 0

    def in_flight(self) -> dict[Any, str]:
        """Return what is being served: the greenlet, and the request line and client for a log."""
        connections = self._service.connections if self._service is not None else ()
        return {
            connection.greenlet: described(connection.exchange)
            for connection in tuple(connections)
            if connection.exchange is not None
        }

    def drain(self, timeout: float, *, sweep: bool = False) -> bool:
        """Accept nothing more, let requests in flight end, then end what is left.

        Idle connections close at once; a request that has arrived is answered, with ``Connection: close``. Applications
        learn of it by ``environ["geventwsgi.server"].draining``.

        :param timeout: seconds before the requests left are cut: their greenlets end by ``GreenletExit``.
        :param sweep: first accept what waits in the backlog.
        :returns: whether all ended by themselves.
        """
        service = self._service
        if service is not None:
            service.draining = True
            self._view.draining.set()
            if sweep and not self.closed:
                self._sweep(min(timeout, LAST_CALL))
        self.close()
        if service is None:
            return True
        if not service.connections:
            return True
        service.empty.clear()
        for connection in tuple(service.connections):
            connection.drain()
        if service.empty.wait(timeout):
            return True
        return self._cut(service, timeout)

    def _cut(self, service: Service, timeout: float) -> bool:
        """End what is left after ``timeout`` seconds of a drain; return whether all of it had been answered."""
        for request in list(self.in_flight().values())[:NAMED] if timeout else ():
            self.logger.warning("Cut, since it had not ended after %g s: %s", timeout, request)
        answered = all(connection.lingering for connection in service.connections)
        for connection in tuple(service.connections):
            connection.kill()
        service.empty.wait(KILL_MARGIN)
        for connection in tuple(service.connections):
            if connection.lingering:
                connection.close()
        return answered

    def _sweep(self, timeout: float) -> None:
        """Accept what waits, and who has connected and says something within ``timeout`` seconds."""
        until = clock.monotonic() + timeout
        end_deferral(self.socket)
        self._accept_all()
        while not self.closed and deferred(self.socket) and clock.monotonic() < until:
            sleep(AGAIN)
            if not self.closed:  # by a second signal
                self._accept_all()

    def _accept_all(self) -> None:
        """Accept what waits, though not for ever: new connections may come as fast as these are taken."""
        for _ in range(self.config.backlog):
            accepted = self.do_read()
            if accepted is None:
                break
            self.do_handle(*accepted)

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting, then end the connections, after ``timeout`` seconds (``stop_timeout``) by force."""
        self.drain(self.stop_timeout if timeout is None else timeout)
        super().stop(0)
        if self._service is not None:
            self._service.poller.close()
        self._service = self._acceptor = None
        release(self)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`. Here the server has not been started.

        A script that forks outside of any greenlet may mean to serve in the child as well: only there the listening
        socket stays open.
        """
        if self._service is not None:
            self._service.let_go()
        displace(*(sock.fileno() for sock in self._handled))
        if getcurrent().parent is not None and not self.closed:
            displace(self.socket.fileno())
            hold(self.__dict__.pop("socket"))
        for name, fresh in (("_watcher", None), ("_timer", None), ("_stop_event", Event()), ("_handled", set())):
            hold(vars(self).get(name))
            vars(self)[name] = fresh
        hold(self.pool)
        self._service = self._acceptor = None
        self._capacity = Capacity.of(self.config)
        if isinstance(self._given_spawn, int):
            self.set_spawn(self._given_spawn)
        vars(self)["_stop_event"].set()
        disarm()


def _running() -> int:
    """Return a number that stands for the greenlet that runs, or for the thread, whether or not threads are patched."""
    return id(getcurrent())


def _websocket_wrapper(config: Config) -> Callable[[Any], Any]:
    """Return what gives an application ``environ["wsgi.websocket"]``, where the settings ask for it.

    :raises ConfigError: wsproto is missing.
    """
    if not config.wsgi_websocket:
        return lambda application: application
    try:
        from geventwsgi.wsgi.websocket import WebSocketMiddleware  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"{config.source('wsgi_websocket')}: it needs wsproto ({error}): pip install geventwsgi[wsproto]"
        ) from None
    return partial(WebSocketMiddleware, max_size=config.websocket_max_message_size)


def proxies_of(config: Config) -> ProxyProtocol | None:
    """Return which PROXY headers the settings ask for, None for none."""
    if config.proxy_protocol == "off":
        return None
    return ProxyProtocol(config.proxy_protocol, trust(config.proxy_allow_ips))


def timeouts_of(config: Config) -> Timeouts:
    """Return the deadlines of a connection as the settings have them."""
    return Timeouts(
        tls_handshake=config.handshake_timeout,
        first_byte=config.first_byte_timeout,
        head=config.header_timeout,
        keepalive=config.keepalive,
        body_grace=config.body_grace,
        body_min_rate=config.body_min_rate,
        write=config.write_timeout,
        write_min_rate=config.write_min_rate,
        request=config.request_timeout,
        queue=config.queue_timeout,
        linger=config.linger_timeout,
    )


def limits_of(config: Config) -> Limits:
    """Return the bounds of a request as the settings have them."""
    line, field_size = config.limit_request_line, config.limit_request_field_size
    head = max(MIN_HEAD, line + field_size) if line and field_size else 0
    return Limits(line, config.limit_request_fields, field_size, head, config.limit_request_body)


def leniency_of(config: Config) -> Leniency:
    """Return which faults of a request are let through, as the settings have it."""
    return Leniency(
        folding=config.permit_obsolete_folding,
        spaces=config.strip_header_spaces,
        method=config.permit_unconventional_http_method,
        version=config.permit_unconventional_http_version,
        casefold=config.casefold_http_method,
    )
