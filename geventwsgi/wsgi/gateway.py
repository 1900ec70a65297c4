"""Run the application for one exchange: PEP 3333's server side, from the environ to the close of the response iterable.

It decides how each request ends: by a complete response, by an error reply, by an aborted connection, or because the
client left. It knows neither the HTTP version nor the server.

The rules of an ending:

* A failure of the application is logged with its traceback and the request line. It is answered with 500 while the
  head has not left; after that the connection is aborted, so that a cut body never looks complete.
* If the body of a request is malformed, the answer has the status of that error. If the client has left, there is no
  answer. What the application raises because of either is not its failure, and is logged without a traceback.
* ``close()`` of the iterable runs once, after the last byte or the answer to a failure; then comes the access record.
* A response that is held (:mod:`held`) ends later, in another greenlet, and by the same rules.
* A request for which the application is to be called again (:class:`.Recall`) is one request: ``close()`` follows each
  call, the access record the last.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from geventwsgi import clock
from geventwsgi.errors import ClientDisconnected, RequestEnded, RequestError, RequestTimeout, ResponseError
from geventwsgi.forks import leave
from geventwsgi.observe.access import Record
from geventwsgi.observe.occurrences import occurred
from geventwsgi.wsgi.exchange import described
from geventwsgi.wsgi.files import FileWrapper, regular_extent
from geventwsgi.wsgi.held import Call, Recall, recorded
from geventwsgi.wsgi.input import Input
from geventwsgi.wsgi.request import Request
from geventwsgi.wsgi.response import LastHead, Response
from geventwsgi.wsgi.wrappers import unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import WSGIApplication

    from geventwsgi.observe.error_stream import ErrorStream
    from geventwsgi.observe.tally import Tally
    from geventwsgi.wsgi.environ import EnvironBuilder
    from geventwsgi.wsgi.exchange import Exchange
    from geventwsgi.wsgi.identified import Identities

SWITCHING_PROTOCOLS = 101
NO_CONTENT = 204
CLIENT_LEFT = 499


class Log(Protocol):
    """What the gateway asks of a logger; ``logging.Logger`` has it."""

    def debug(self, msg: str, /, *args: Any) -> None: ...  # noqa: D102 - logging.Logger has its text
    def warning(self, msg: str, /, *args: Any) -> None: ...  # noqa: D102 - the same
    def error(self, msg: str, /, *args: Any, exc_info: BaseException | None = None) -> None: ...  # noqa: D102 - the same
    def exception(self, msg: str, /, *args: Any) -> None: ...  # noqa: D102 - the same


class Gateway:
    """Runs one application; serves any number of exchanges at once.

    :param environ: makes each request's environ.
    :param debug: show tracebacks in the pages that answer failures.
    :param use_sendfile: let the kernel send the files that the application returns in ``wsgi.file_wrapper``.
    :param on_record: gets one access record at the end of every exchange, however it ends.
    :param tally: counts every exchange at its end; None if nothing is counted.
    :param pre_request: called with the request before the application; if it raises, the application is not called.
    :param post_request: called with request, environ and response at the end of every exchange.
    :param shows: whether records are made of that request as well, since a foreign logger may look at it.
    :param identities: gives each request its identity; None for none.
    :param last_head: makes the responses' heads; None: as the application gives them.
    :param errors: ``wsgi.errors``: a line that a request leaves unfinished there ends with it.
    :param interrupts: exceptions that end the greenlet or the process that runs the exchange, and so pass through
        :meth:`run`; the server adds ``GreenletExit``. Any other, ``SystemExit`` and ``gevent.Timeout`` included, is the
        application's failure.
    """

    def __init__(
        self,
        application: WSGIApplication,
        environ: EnvironBuilder,
        log: Log,
        *,
        debug: bool = False,
        use_sendfile: bool = True,
        on_record: Callable[[Record], None] | None = None,
        tally: Tally | None = None,
        pre_request: Callable[[Request], object] | None = None,
        post_request: Callable[[Request, dict[str, Any], Response], object] | None = None,
        shows: bool = False,
        identities: Identities | None = None,
        last_head: LastHead | None = None,
        errors: ErrorStream | None = None,
        interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
    ) -> None:
        #: May be replaced while requests run; they go on with the one they began with.
        self.application = application
        #: Whether this process was forked in a request, and is not to answer it (:mod:`geventwsgi.forks`).
        self._forsaken = False
        self._environ = environ
        self._log = log
        self._debug = debug
        self._use_sendfile = use_sendfile
        self._on_record = on_record
        self._tally = tally
        self._pre_request = pre_request
        self._post_request = post_request
        self._errors = errors
        self._interrupts = interrupts
        self._shows = shows or pre_request is not None or post_request is not None
        self._identities = identities
        self._prepares = self._shows or identities is not None
        self._observed = on_record is not None or tally is not None or self._prepares
        self._last_head = LastHead(log) if last_head is None else last_head

    def let_go(self) -> None:
        """Answer nothing more, in a process that was forked in a request."""
        self._forsaken = True

    def run(self, exchange: Exchange, former: Call | None = None) -> None:
        """Answer one request, or abort its connection; only an exception of ``interrupts`` comes out of it.

        All else is in functions of its own: this one's frame is kept in memory for each request that waits.

        :param former: the call before, if the application is called again for the same request (:class:`.Recall`).
        """
        started = exchange.began or clock.monotonic() if self._observed else 0.0
        environ: dict[str, Any] | None = None
        body: Input | None = None
        result: Any = None
        if former is not None:
            started = former.started
        if self._identities is None:
            response = Response(exchange, self._last_head)
        else:
            earlier = None if former is None else former.response
            response = self._identities.begin(exchange, self._last_head, earlier)
        try:
            environ = self._prepared(exchange, response) if self._prepares else self._environ.build(exchange)
            if former is not None:
                environ.update(former.result.entries())
            if exchange.has_body:
                body = environ["wsgi.input"]
            result = self.application(environ, response.start_response)
            if self._send(exchange, result, response):
                self._hold(exchange, environ, result, response, started)
                return
            complaint = response.finish()
            exchange.over = True
            if complaint is not None:
                self._log.error("Wrong length of the response to %s: %s", described(exchange), complaint)
        except BaseException:  # noqa: BLE001 - whatever is no interrupt ends this exchange, not the server
            self._broke(exchange, environ, body, result, response, started)
        else:
            self._end(exchange, environ, result, response, started)

    def _prepared(self, exchange: Exchange, response: Response) -> dict[str, Any]:
        """Return the environ, with the request's identity, and as the hook has left it."""
        environ = self._shown(exchange) if self._shows else self._environ.build(exchange)
        if self._identities is not None:
            self._identities.tell(environ, response)
        return environ

    def _shown(self, exchange: Exchange) -> dict[str, Any]:
        """Let the hook see the request before the application does; return the environ as the hook has left it."""
        request = exchange.request = Request(exchange, self._environ.visible_fields(exchange))
        if self._pre_request is not None:
            self._pre_request(request)
        environ = self._environ.build(exchange)
        request.apply(environ)
        return environ

    # Sending

    def _send(self, exchange: Exchange, result: Any, response: Response) -> bool:
        """Send what the application returned, each chunk at once; return whether the rest is to be held."""
        if isinstance(result, (list, tuple)) and len(result) < 2:
            if result:
                response.write_last(result[0], type(result) is list and self._post_request is None)
        elif type(result) is FileWrapper:
            self._send_file(exchange, result, response)
        else:
            return self._send_chunks(exchange, result, response)
        return exchange.offered is not None and self._is_left(exchange, response)

    def _send_chunks(self, exchange: Exchange, chunks: Iterable[bytes], response: Response) -> bool:
        if isinstance(chunks, (str, bytes)) or not (hasattr(chunks, "__iter__") or hasattr(chunks, "__getitem__")):
            kind = type(chunks).__name__
            raise ResponseError(f"the application returned {kind}: return an iterable of bytes, such as [b'text']")
        head_only = response.head_only
        for chunk in chunks:
            response.write(chunk)
            if head_only and chunk:
                break  # otherwise an endless stream would go on for a client that wants only the head
            if exchange.offered is not None and chunk and self._holds(exchange, chunks, chunk):
                return True
        return exchange.offered is not None and self._is_left(exchange, response)

    def _is_left(self, exchange: Exchange, response: Response) -> bool:
        """Return whether the application's offer follows a response without a body: an upgrade, or a Recall."""
        if exchange.taken:  # an upgraded connection
            return exchange.can_hold()
        if isinstance(exchange.offered, Recall):
            if response.status_code == NO_CONTENT and exchange.can_recall():
                return True
            self._log.debug("The application is not called again for %s: it has answered", described(exchange))
        exchange.offered = None
        return False

    def _holds(self, exchange: Exchange, chunks: Iterable[bytes], chunk: bytes) -> bool:
        """Return whether a response is to be held, now that its first chunk has been sent."""
        held = exchange.offered
        if isinstance(held, Recall):
            return False  # see _is_left
        unchanged = held is not None and chunk is held.first and held.is_body(unwrapped(chunks))
        if unchanged and exchange.can_hold():
            return True
        exchange.offered = None
        reason = "it cannot be sent without one" if unchanged else "something may change the body on its way"
        self._log.debug("The response to %s keeps its greenlet: %s", described(exchange), reason)
        return False

    def _send_file(self, exchange: Exchange, wrapper: FileWrapper, response: Response) -> None:
        """Send a file from its position to its end or to the Content-Length (PEP 3333, "Optional ... Handling")."""
        left = None if response.length is None else max(0, response.length - response.sent)
        extent = regular_extent(wrapper.filelike) if self._use_sendfile else None
        if extent is not None:
            fileno, offset, count = extent
            response.write_file(fileno, offset, count if left is None else min(left, count))
        else:
            self._send_chunks(exchange, wrapper if left is None else wrapper.blocks(left), response)

    # Ending

    def _hold(
        self, exchange: Exchange, environ: dict[str, Any], result: Any, response: Response, started: float
    ) -> None:
        """Leave the rest of a response to the exchange; keep only what its end needs."""
        exchange.over = True
        if exchange.taken:
            result = None  # it is exhausted, and may need as much memory as all that is kept
        elif not exchange.head_sent:
            self._close(result, exchange)
            response.take_back()
            result = exchange.offered
        if self._errors is not None and self._errors.unfinished:
            self._errors.flush()
        if not self._observed:
            exchange.hold(Call(self, result, None, None, 0.0))
        else:
            exchange.hold(Call(self, result, response, environ if self._shows else recorded(environ), started))

    def interrupted_by(self, error: BaseException) -> bool:
        """Return whether an exception is meant for the greenlet or the process, and is no failure."""
        return isinstance(error, self._interrupts)

    def stay(self, exchange: Exchange, error: BaseException | None) -> None:
        """End this process if it is a child of one in which the application was called: it serves nobody.

        :param error: what the call has raised.
        """
        if self._forsaken:
            self._leave_process(ClientDisconnected("a child") if error is None else error, exchange)

    def complain(self, exchange: Exchange, error: BaseException) -> None:
        """Log a failure of the application's after its response."""
        self._log.error("Error handling request %s", described(exchange), exc_info=error)

    def pack(self, call: Call) -> dict[str, Any] | None:
        """Return what another worker needs to make the record of a call, values for JSON; None if it makes none."""
        response = call.response
        if response is None:
            return None
        environ = recorded(call.environ or {})
        return {"started": call.started, "environ": environ, "status": response.status, "headers": response.headers}

    def unpack(self, facts: dict[str, Any] | None, exchange: Exchange, result: Any) -> Call:
        """Return a call that another worker has begun.

        :param result: is closed at its end.
        """
        if not self._observed:
            return Call(self, result, None, None, 0.0)
        response = Response(exchange, self._last_head)
        if facts is None:  # there, nobody wanted a record
            return Call(self, result, response, {"REMOTE_ADDR": exchange.remote_addr}, clock.monotonic())
        response.resume(facts["status"], facts["headers"])
        return Call(self, result, response, facts["environ"], facts["started"])

    def leave(self, call: Call, exchange: Exchange) -> None:
        """Do what comes after a call with which another worker goes on: everything but the record."""
        request, exchange.request = exchange.request, None
        self._close(call.result, exchange)
        self._call_hook(request, call.environ or {}, call.response, exchange)

    def conclude(self, call: Call, exchange: Exchange, error: BaseException | None) -> None:
        """Do what comes after a held response, as :meth:`run` does after any other.

        :param error: what has ended it; None if it has come to its end.
        """
        response = Response(exchange, self._last_head) if call.response is None else call.response
        if self._identities is not None:
            self._identities.resume(call.environ)
        try:
            if error is not None:
                raise error  # noqa: TRY301 - as if the application's call had raised it
        except BaseException:  # noqa: BLE001 - as in run
            self._broke(exchange, call.environ, None, call.result, response, call.started)
        else:
            self._end(exchange, call.environ, call.result, response, call.started)

    def _broke(
        self, exchange: Exchange, environ: dict[str, Any] | None, body: Input | None, result: Any, response: Response,
        started: float,
    ) -> None:  # fmt: skip
        """Act on the exception that is being handled; raise it on if it is an interrupt."""
        error: BaseException = sys.exc_info()[1]  # type: ignore[assignment]  # there is one
        if self._forsaken:
            self._leave_process(error, exchange)
        try:
            if isinstance(error, self._interrupts):
                response.cut()
                raise error
            self._fail(error, exchange, response, body)
        finally:
            error = None  # type: ignore[assignment]  # its traceback leads back to here
            self._end(exchange, environ, result, response, started)

    def _leave_process(self, error: BaseException, exchange: Exchange) -> NoReturn:
        """End a process that was forked in this request: the application has ended there, or has tried to answer."""
        if isinstance(error, ClientDisconnected):
            self._log.error(
                "A process that was forked in %s was about to answer it, and ends (pid: %s): end it by os._exit()",
                described(exchange),
                os.getpid(),
            )
            error = SystemExit(1)
        leave(error)

    def _fail(self, error: BaseException, exchange: Exchange, response: Response, body: Input | None) -> None:
        """Answer a failure by its cause: what the exchange raised counts however the application wrapped it."""
        body = body if isinstance(body, Input) else None  # a hook may have put its own in place
        exchange.over = True
        thrown = exchange.thrown()
        cause = error
        if not isinstance(error, (ClientDisconnected, RequestError)):
            cause = response.failure or (body and body.failure) or thrown or error
        response.failure = None  # its traceback leads back to the response
        if body is not None:
            body.failure = None
        if isinstance(cause, ClientDisconnected):
            self._leave(exchange, response)
        elif exchange.taken and isinstance(cause, StopIteration):
            exchange.finish()  # by this WebSocket libraries end a session under gunicorn
        elif isinstance(cause, RequestError):
            log = self._log.debug if cause.status < 500 else self._log.error
            log("Refused %s: %s", described(exchange), cause)
            self._answer(exchange, response, cause.status, cause.reason)
        elif isinstance(cause, RequestTimeout):
            occurred("timeouts", "request_timeout")
            self._log.error("Request timed out: %s", described(exchange))
            self._answer(exchange, response, 504, str(cause))
        elif isinstance(cause, RequestEnded):
            self._answer(exchange, response, 503, str(cause))
        else:
            # The traceback of a broken rule of PEP 3333 ends in this package: the line itself has to say what is wrong.
            rule = f": {error}" if isinstance(error, ResponseError) else ""
            self._log.exception("Error handling request %s%s", described(exchange), rule)
            self._answer(exchange, response, 500, traceback.format_exc() if self._debug else None)

    def _answer(self, exchange: Exchange, response: Response, status: int, detail: str | None) -> None:
        if not (exchange.head_sent or exchange.taken):
            response.replace(status)
        try:
            exchange.fail(status, detail, () if self._identities is None else self._identities.fields(response))
        except ClientDisconnected:
            self._leave(exchange, response)

    def _leave(self, exchange: Exchange, response: Response) -> None:
        self._log.debug("Client left: %s", described(exchange))
        response.replace(CLIENT_LEFT)
        exchange.abort()

    def _end(
        self, exchange: Exchange, environ: dict[str, Any] | None, result: Any, response: Response, started: float
    ) -> None:
        """Do what comes after every response."""
        response.ended = True
        try:
            if type(result) is not list:  # which has no close()
                self._close(result, exchange)
            if self._errors is not None and self._errors.unfinished:
                self._errors.flush()  # the greenlet's next request may come from another client
        finally:
            if self._observed:
                self._observe(exchange, environ, response, started)

    def _close(self, result: Any, exchange: Exchange) -> None:
        """Call the iterable's ``close()``. The response has ended: what happens here is nothing to the client."""
        try:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        except self._interrupts:
            raise
        except BaseException:  # noqa: BLE001 - as in run
            self._log.exception("Error in close() after the response to %s", described(exchange))

    def _observe(self, exchange: Exchange, environ: dict[str, Any] | None, response: Response, started: float) -> None:
        """Make the access record and call ``post_request``; neither may harm the connection."""
        duration = clock.monotonic() - started
        request, exchange.request = exchange.request, None  # which refers to the exchange
        if environ is None:
            environ = {"REMOTE_ADDR": exchange.remote_addr}
        code = exchange.status
        if exchange.taken and code != CLIENT_LEFT:
            code = SWITCHING_PROTOCOLS
            response.replace(code)
        if self._tally is not None:
            self._tally.request(exchange.head.method, code, duration, exchange.sent)
            if exchange.head.fields.stamped and exchange.trusted:
                self._tally.count_upstream(environ.get("HTTP_X_REQUEST_START", ""), time.time() - duration)
            if self._on_record is None and request is None:
                return
        if code == CLIENT_LEFT or (response.status is None and code):
            response.replace(code)
        if self._on_record is not None:
            try:
                self._on_record(Record(request or exchange.head, response, environ, duration))
            except Exception:  # noqa: BLE001 - a full disk, a broken logger_class
                self._log.exception("Error in the access log for %s", described(exchange))
        self._call_hook(request, environ, response, exchange)

    def _call_hook(
        self, request: Request | None, environ: dict[str, Any], response: Response, exchange: Exchange
    ) -> None:
        if self._post_request is not None and request is not None:
            try:
                self._post_request(request, environ, response)
            except Exception:  # noqa: BLE001 - the operator's code
                self._log.exception("Error in the post_request hook for %s", described(exchange))
