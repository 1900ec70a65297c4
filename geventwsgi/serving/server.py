"""WSGIServer: accept connections, keep count of them, drain them. The embedding API.

It has the arguments, methods and attributes of ``gevent.pywsgi.WSGIServer``: a script only changes its import.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any, ClassVar

from gevent import get_hub, sleep, spawn
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import socket as GeventSocket
from greenlet import getcurrent

from geventwsgi import clock
from geventwsgi.config.sources import Config
from geventwsgi.errors import ConfigError
from geventwsgi.forks import displace, hold, keep, release
from geventwsgi.mesh.place import HERE
from geventwsgi.observe.log import ErrorStream, stream_logger
from geventwsgi.observe.log_stream import log_object
from geventwsgi.observe.recorder import recorder
from geventwsgi.serving import assembly
from geventwsgi.serving.accept.acceptor import Acceptor
from geventwsgi.serving.accept.capacity import Capacity
from geventwsgi.serving.accept.connection import LAST_CALL
from geventwsgi.serving.accept.service import ServerView
from geventwsgi.serving.http1.http1_connection import Http1Speaker
from geventwsgi.serving.loop.disarm import disarm
from geventwsgi.serving.loop.runners import OneEach, Runners
from geventwsgi.serving.moving.moves import Moves
from geventwsgi.serving.script_attributes import OwnEnviron, Readable, check_arguments, look_for_signals
from geventwsgi.serving.wire.outbox import outbox_of
from geventwsgi.serving.wire.poller import poller
from geventwsgi.serving.wire.sockets import deferred, end_deferral, prepare
from geventwsgi.serving.wire.tls_attributes import TLSAttributes, server_context
from geventwsgi.wsgi.exchange import described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from geventwsgi.mesh.passing import Taker
    from geventwsgi.observe.log import Logger
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.capacity import Guest
    from geventwsgi.serving.accept.service import Service
    from geventwsgi.serving.http1.http1_affinity import Places
    from geventwsgi.serving.wire.sockets import Socket
    from geventwsgi.wsgi.gateway import Gateway

#: SERVER_SOFTWARE. No version: it helps nobody but attackers.
SOFTWARE = "geventwsgi"
#: What a watcher of the loop waits for.
READ = 1
#: Seconds between two looks for clients that have connected and said nothing yet.
AGAIN = 0.02
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
    :param tally: counts what is served, for the metrics of the whole server.
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
        tally: Tally | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        check_arguments(spawn, config)
        ssl_context = settings.pop("ssl_context", None)
        settings.pop("server_side", None)  # as for ssl.wrap_socket, which pywsgi's scripts pass on
        # Attributes are private to this class, so that subclasses may have their own of any name, as under pywsgi.
        self.__config = config or Config.of(**settings)
        TLSAttributes.begin(self, self.__config)
        self.__logger = logger or stream_logger(log, error_log, cfg=self.__config)
        self.__errors = ErrorStream(self.__logger, whose=_running)
        #: What was given, or what has a logger's methods and ``write``; a ``handler_class`` writes its lines there.
        own = self.__logger
        self.log = log_object(log, getattr(own, "access_log", own), logging.INFO, _running)
        self.error_log = log_object(error_log, getattr(own, "error_log", own), logging.ERROR, _running)
        self.__worker = worker
        self.__is_ready = is_ready
        self.__tally = tally
        self.__capacity = capacity or Capacity.of(self.__config)
        self.__view = ServerView()
        #: The timer of :func:`look_for_signals`.
        self.__look: Any = None
        #: How many greenlets are about to stop it, and what is set when none is.
        self.__stops = 0
        self.__stopped = Event()
        #: A pool bounds connections, so that each keeps its place while it is idle; and so for a callable.
        self.__keeps_greenlets = spawn != "default"
        #: The parts that accept and serve. Made when accepting begins: processes that are forked before share none.
        self.__acceptor: Acceptor | None = None
        self.__service: Service | None = None
        self.__gateway: Gateway | None = None
        #: Gives connections to other workers, and takes some; None if none are passed.
        self.__moves: Moves | None = None
        #: Clients' sockets in the hands of ``handler_class``.
        self.__handled: set[Any] = set()
        self.__wrap = assembly.websocket_wrapper(self.__config)
        #: Where sessions are held, if requests are served by certain workers.
        self.__places: Places | None = None
        #: What every environ starts from, where a subclass makes it for each request.
        self.__base: dict[str, Any] | None = None
        self.__application = application
        if handler_class is not None:
            self.handler_class = handler_class
        if self.handler_class is not None and self.__config.proxy_protocol != "off":
            raise ConfigError("proxy_protocol: a handler_class reads the connection itself: leave one of them out")
        if self.handler_class is not None and self.__config.affinity != "off":
            raise ConfigError("affinity: a handler_class reads the connection itself: leave one of them out")
        self.__given_spawn = spawn
        super().__init__(listener, backlog=backlog, spawn=spawn)
        if ssl_context is not None or self.__config.is_ssl:
            TLSAttributes.set_context(self, server_context(self.__config, ssl_context))
        if backlog is None:
            self.backlog = self.__config.backlog
        self.set_environ(environ)
        self.set_max_accept()

    # pywsgi's attributes

    @property
    def application(self) -> Any:
        """The application; may be replaced while the server runs."""
        return self.__application

    @application.setter
    def application(self, application: Any) -> None:
        self.__application = application
        if self.__gateway is not None:
            self.__gateway.application = self.__wrapped(application)

    def set_environ(self, environ: Mapping[str, Any] | None = None) -> None:
        """Set what every environ starts from: ``base_env``, then ``environ``."""
        self.environ = self.environ_class(self.base_env)
        self.environ["wsgi.url_scheme"] = "https" if self.ssl_enabled else "http"
        self.environ["wsgi.errors"] = self.__errors
        self.environ["geventwsgi.server"] = self.__view
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
        if self.__acceptor is not None and self.__view.draining.is_set():
            self.__stop(0)  # a drain alone has left what it had drained
        super().init_socket()
        self.__begin_anew()
        self.socket.setblocking(False)  # one that was given may be the standard library's, and accept would block all
        self.update_environ()
        if self.family != getattr(socket, "AF_UNIX", None):
            # A listener of reuse_port may be closed while others serve on, and would take along who has said nothing.
            prepare(self.socket, defer=not self.__config.reuse_port)

    def __assemble(self) -> Acceptor:
        """Return what accepts, with all that serves behind it; put together at the first call."""
        if self.__acceptor is None:
            acceptor = Acceptor(
                self.socket, self.__capacity, self.__logger, self.__pause, self.max_accept,
                proxied=self.__config.proxy_protocol != "off",
            )  # fmt: skip
            if self.handler_class is not None and self.secure_environ_class is dict:
                from gevent.pywsgi import WSGISecureEnviron  # for those handlers alone

                self.secure_environ_class = WSGISecureEnviron
            if self.handler_class is None:
                if HERE.passing is not None and self.__worker is not None:
                    self.__moves = Moves(HERE.passing, acceptor, repr(self.address))
                acceptor.speaker = self.__make_speaker(acceptor)
            self.__acceptor = acceptor
            keep(self)
        return self.__acceptor

    def __begin_anew(self) -> None:
        """Make good what a :meth:`stop` has left: requests of that life stay told to drain, new ones are not."""
        if "_spawn" not in vars(self):  # gevent's close() takes it away, and a pool would bound nothing
            self.set_spawn(self.__given_spawn)
        if self.__acceptor is not None:
            self.__acceptor.listen_at(self.socket)  # a close() alone has closed the one before
        before = self.__view
        if before.draining.is_set():
            self.__view = ServerView()
            if self.environ.get("geventwsgi.server") is before:
                self.environ["geventwsgi.server"] = self.__view

    def __make_speaker(self, acceptor: Acceptor) -> Http1Speaker:
        config, logger = self.__config, self.__logger
        on_record = recorder(logger)
        self.__places = assembly.places_of(config)
        events = poller(self.loop)
        events.complain = acceptor.unwatchable
        base = self.get_environ()
        if self.environ_class is not dict or type(self).get_environ is not WSGIServer.get_environ:
            self.__base = base
        gateway = self.__gateway = assembly.gateway_of(
            config, self.__wrapped(self.__application), base, logger,
            errors=self.__errors, on_record=on_record, tally=self.__tally, worker=self.__worker, places=self.__places,
        )  # fmt: skip
        tls = TLSAttributes.context_of(self)
        self.__service = assembly.service_of(
            config, events, self.__capacity, self.__make_runners(), logger, tls,
            loop=self.loop, keeps_greenlets=self.__keeps_greenlets,
        )  # fmt: skip
        scheme = "http" if tls is None else "https"
        pages = assembly.pages_of(config, self.__is_ready, self.__view.draining)
        affinity = assembly.affinity_of(config, self.__places, self.__moves)
        policy = assembly.http1_policy_of(
            config, gateway, scheme, on_record=on_record, pages=pages, tally=self.__tally, affinity=affinity
        )
        return Http1Speaker(self.__service, policy)

    def __wrapped(self, application: Any) -> Any:
        """Return an application with what settings and subclasses put around it."""
        wrapped = assembly.handshake_wrapper(self.__config, self.__places)(self.__wrap(application))
        return wrapped if self.__base is None else OwnEnviron(wrapped, self.get_environ, self.__base)

    def __make_runners(self) -> Runners:
        if self.__keeps_greenlets:
            return OneEach(self._spawn)  # type: ignore[attr-defined]  # StreamServer has it, its stubs have not
        return Runners(outbox_of(get_hub()), once=self.__config.greenlet_per_request)

    # Accepting

    def start_accepting(self) -> None:
        """Watch the listening socket."""
        acceptor = self.__assemble()
        if self.__service is None or self.__keeps_greenlets:
            super().start_accepting()  # which looks whether a pool is full
        elif self._watcher is None:  # gevent's own, with which it stops
            self._watcher: Any = self.loop.io(self.socket.fileno(), READ)
            self._watcher.start(acceptor.accept)
        if self.__worker is None and self.__look is None and self.loop.default:
            self.__look = look_for_signals(self.loop)

    def do_read(self) -> tuple[Socket, Any] | None:  # type: ignore[override]  # do_handle takes it
        """Accept one connection; None if there is none, or no room for one."""
        return self.__assemble().take()

    def __pause(self, seconds: float) -> None:
        """Accept nothing for a moment. What waits in the backlog keeps waiting."""
        self.stop_accepting()
        self._timer = self.loop.timer(seconds)
        self._timer.start(self.__accept_again)

    def __accept_again(self) -> None:
        if self.__acceptor is not None and not self.closed:
            if self.__capacity.balance is not None:
                self.__capacity.balance.join()
            self.start_accepting()

    def do_handle(self, sock: Socket, address: Any) -> None:  # type: ignore[override]  # what do_read returns
        """Start serving an accepted connection."""
        acceptor = self.__assemble()
        if self.__service is not None:
            acceptor.begin(sock, address)
        else:
            super().do_handle(GeventSocket(fileno=sock.detach()), address)

    def handle(self, sock: Any, address: Any) -> None:
        """Serve a connection by ``handler_class``, with the steps that pywsgi's server takes."""
        self.__handled.add(sock)
        try:
            self.handler_class(sock, address, self).handle()
        finally:
            self.__handled.discard(sock)

    def wrap_socket_and_handle(self, sock: Any, address: Any) -> None:
        """Serve a connection over TLS by :meth:`handle`."""
        sock.settimeout(self.__config.handshake_timeout)
        try:
            tls_sock = self.wrap_socket(sock, server_side=True)
        except OSError as error:
            self.__logger.debug("TLS handshake with %s failed: %s", address, error)
            return
        with tls_sock:
            tls_sock.settimeout(None)
            self.handle(tls_sock, address)

    # Counting and stopping

    @Readable
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self.__service.connections) if self.__service is not None else 0

    @Readable
    def requests(self) -> int:
        """Return how many requests are in flight, of all servers that share the capacity."""
        return self.__capacity.in_flight()

    @Readable
    def served(self) -> int:
        """Return how many requests were begun so far, without those that ``handler_class`` serves."""
        return self.__service.served if self.__service is not None else 0

    def guests(self) -> tuple[Guest, ...]:
        """Return the open connections, for whoever looks at the server."""
        return () if self.__service is None else tuple(self.__service.connections)

    def in_flight(self) -> dict[Any, str]:
        """Return what is being served: the greenlet, and the request line and client for a log."""
        return self.__in_flight()

    def __in_flight(self) -> dict[Any, str]:
        requests = self.__service.in_flight() if self.__service is not None else ()
        return {greenlet: described(exchange) for greenlet, exchange in requests}

    def hand_over(self, staying: Callable[[], Sequence[Taker]], until: float) -> None:
        """Accept nothing more, and give the connections that wait to other workers (see :meth:`.Moves.hand_over`)."""
        if self.__moves is not None:
            self.stop_accepting()
            self.__moves.hand_over(staying, until)

    def drain(self, timeout: float, *, sweep: bool = False) -> bool:
        """Accept nothing more, let requests in flight end, then end what is left.

        Idle connections close at once; a request that has arrived is answered, with ``Connection: close``. Applications
        learn of it by ``environ["geventwsgi.server"].draining``.

        :param timeout: seconds before the requests left are cut: their greenlets end by ``GreenletExit``.
        :param sweep: first accept what waits in the backlog.
        :returns: whether all ended by themselves.
        """
        return self.__drain(timeout, sweep=sweep)

    def __drain(self, timeout: float, *, sweep: bool = False) -> bool:
        service = self.__service
        if service is not None:
            service.begin_drain()
            self.__view.draining.set()
            if sweep and not self.closed:
                self.__sweep(min(timeout, LAST_CALL))
        self.close()
        until = clock.monotonic() + timeout
        while service is None or service.drain(max(0.0, until - clock.monotonic())):
            if self.__moves is not None:
                self.__moves.settle()
            if service is None or not service.connections:
                return True
        for request in list(self.__in_flight().values())[:NAMED] if timeout else ():
            self.__logger.warning("Cut, since it had not ended after %g s: %s", timeout, request)
        return service.cut()

    def __sweep(self, timeout: float) -> None:
        """Accept what waits, and who has connected and says something within ``timeout`` seconds."""
        until = clock.monotonic() + timeout
        end_deferral(self.socket)
        self.__accept_all()
        while not self.closed and deferred(self.socket) and clock.monotonic() < until:
            sleep(AGAIN)
            if not self.closed:  # by a second signal
                self.__accept_all()

    def __accept_all(self) -> None:
        """Accept what waits, though not for ever: new connections may come as fast as these are taken."""
        for _ in range(self.__config.backlog):
            accepted = self.do_read()
            if accepted is None:
                break
            self.do_handle(*accepted)

    def stop(self, timeout: float | None = None) -> None:
        """Stop accepting, then end the connections, after ``timeout`` seconds by force.

        Where nothing can wait, as in a handler of :func:`signal.signal`, it returns at once and a greenlet goes on.

        :param timeout: None for ``stop_timeout``; if another greenlet is about to stop the server, its time counts,
            so that the end of :meth:`serve_forever` does not cut what a stop still waits for.
        """
        if getcurrent() is get_hub():
            spawn(self.stop, timeout)
        elif timeout is None and self.__stops:
            self.__stopped.wait()
        else:
            self.__stops += 1
            self.__stopped.clear()
            try:
                self.__stop(self.stop_timeout if timeout is None else timeout)
            finally:
                self.__stops -= 1
                if not self.__stops:
                    self.__stopped.set()

    def __stop(self, timeout: float) -> None:
        self.__drain(timeout)
        super().stop(0)
        if self.__look is not None:
            self.__look.close()
            self.__look = None
        if self.__service is not None:
            self.__service.common.poller.close()
        self.__service = self.__gateway = self.__acceptor = None
        release(self)

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`. Here the server has not been started.

        A script that forks outside of any greenlet may mean to serve in the child as well: only there the listening
        socket stays open.
        """
        if self.__service is not None:
            self.__service.let_go()
        if self.__gateway is not None:
            self.__gateway.let_go()
        displace(*(sock.fileno() for sock in self.__handled))
        if getcurrent().parent is not None and not self.closed:
            displace(self.socket.fileno())
            hold(self.__dict__.pop("socket"))
        for name, fresh in (("_watcher", None), ("_timer", None), ("_stop_event", Event())):
            hold(vars(self).get(name))
            vars(self)[name] = fresh
        hold(self.__handled)
        self.__handled = set()
        hold(self.pool)
        self.__service = self.__gateway = self.__acceptor = None
        self.__capacity = Capacity.of(self.__config)
        if isinstance(self.__given_spawn, int):
            self.set_spawn(self.__given_spawn)
        vars(self)["_stop_event"].set()
        disarm()


def _running() -> int:
    """Return a number that stands for the greenlet that runs, or for the thread, whether or not threads are patched."""
    return id(getcurrent())
