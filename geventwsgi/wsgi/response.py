"""``start_response`` and ``write`` (PEP 3333, "The start_response() Callable"), and the checks of a response head.

It checks status and headers, and passes the head to the exchange at the first byte of the body. The exchange encodes
head and body.

A CR or LF in a value would let a client write headers. A hop-by-hop field would contradict the server's own framing; it
is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from geventwsgi.errors import ClientDisconnected, ResponseError
from geventwsgi.http.encode import status_line
from geventwsgi.wsgi.exchange import ResponseHead
from geventwsgi.wsgi.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import TypeAlias

    from geventwsgi.wsgi.exchange import Exchange

    Fields: TypeAlias = tuple[tuple[str, str], ...]
    ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

# RFC 9112 section 4, narrowed by PEP 3333: three digits, one space, a reason without control characters.
STATUS = re.compile(r"[1-9][0-9]{2} [\x20-\x7e\x80-\xff]*")
# RFC 9110 sections 5.1 and 5.5, for strings that become bytes as latin-1.
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: Fields of one connection, which only the server may set (RFC 9110 section 7.6.1, RFC 2616 section 13.5.1).
HOP_BY_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "trailers", "transfer-encoding", "upgrade",
))  # fmt: skip
_NOTHING: frozenset[str] = frozenset()
#: What to do instead of setting such a field, for the log.
_REMOVE = "remove it where the application sets it or copies it from another server's response"
_INSTEAD = {
    "connection": f"{_REMOVE}, or set it to close",
    "keep-alive": f"{_REMOVE}, and set keepalive in the configuration",
    "trailer": f'{_REMOVE}, and send trailers by environ["geventwsgi.send_trailers"]',
    "upgrade": f"{_REMOVE}, or answer by status 101",
}
#: The option of a Connection field that ends the connection (RFC 9112 section 9.6).
_CLOSE = re.compile(r"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")
#: Fields that an application sets itself when it accepts an Upgrade (RFC 9110 section 7.8).
_SWITCHING = frozenset(("connection", "upgrade"))
_WITHOUT_CONTENT = (101, 204, 304)


class LastHead:
    """The head that was checked last. Most applications send the same head again and again.

    To compare a head with it costs a fraction of checking it. It is replaced as a whole, by another checked one.

    :param log: gets a warning of each field name that is left out, once.
    """

    __slots__ = ("_left_out", "_log", "head")

    def __init__(self, log: Any = None) -> None:
        #: Its fields are a tuple of tuples of str, all of exactly these types.
        self.head = ResponseHead("200 OK", 200, ())
        self._log = log
        #: The hop-by-hop names of which the log has a warning.
        self._left_out: set[str] = set()

    def head_of(self, exchange: Exchange, status: Any, headers: Any) -> ResponseHead:  # noqa: ARG002 - for subclasses
        """Return the head of a response.

        :param status: with ``headers``, what the application has given to start_response.
        :raises ResponseError: status or headers are malformed.
        """
        return self.head if self.repeated(status, headers) else self.check(status, headers)

    def check(self, status: Any, headers: Any) -> ResponseHead:
        """Return the head for the arguments of start_response, without fields that only the server may set.

        :raises ResponseError: status or headers are malformed.
        """
        head, left_out = _checked(status, headers)
        if not left_out:  # else it has fewer fields than were given, and repeated() would find fewer names to warn of
            self.head = head
        for name in left_out:
            heard = head.closes and name == "connection"
            if self._log is not None and not heard and name not in self._left_out:
                self._left_out.add(name)
                self._log.warning(
                    "The response header %s was left out, here and from now on: it is hop-by-hop, the server's own"
                    " (PEP 3333); %s", name, _INSTEAD.get(name, _REMOVE),
                )  # fmt: skip
        return head

    def repeated(self, status: Any, headers: Any) -> bool:
        """Return whether status and headers are equal to the last head's.

        Values of derived types are never compared, since they may define their own comparison.
        """
        head = self.head
        if status is not head.status and (type(status) is not str or status != head.status):
            return False
        if type(headers) is not list:
            return False
        known, fields = head.headers, headers
        if len(fields) != len(known):
            return False
        for index in range(len(known)):
            field = fields[index]
            if field is not known[index] and not _is_field(field, known[index]):
                return False
        return True


class Response:
    """One response: status and headers, as far as they are set. The access log and ``post_request`` hooks read it.

    :param exchange: where it is sent.
    :param last: has the head of the gateway's last response.
    """

    __slots__ = ("_exchange", "_head", "_last", "_staged", "ended", "failure")

    def __init__(self, exchange: Exchange, last: LastHead | None = None) -> None:
        self._exchange = exchange
        self._last = LastHead() if last is None else last
        #: None before start_response. At the end, the gateway sets it to what the client got.
        self._head: ResponseHead | None = None
        #: Whether the exchange has got status and headers; reset by a later start_response.
        self._staged = False
        #: The exception of a write, which a framework may have replaced by its own.
        self.failure: ClientDisconnected | None = None
        #: Whether the response has ended; set by the gateway. A ``write`` that was kept must not reach the next
        #: response.
        self.ended = False

    @property
    def status(self) -> str | None:
        """Status code, space, reason; None if the application did not get as far."""
        return None if self._head is None else self._head.status

    @property
    def status_code(self) -> int:
        """The status code; 0 if there is no status."""
        return 0 if self._head is None else self._head.code

    @property
    def response_length(self) -> int | None:
        """The Content-Length that the application gave; None if it gave none."""
        return None if self._head is None else self._head.length

    @property
    def headers_sent(self) -> bool:
        """Whether the head has left."""
        return self._exchange.head_sent

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers as the application gave them."""
        return [] if self._head is None else list(self._head.headers)

    @property
    def length(self) -> int | None:
        """The declared Content-Length, None if there is none."""
        return None if self._head is None else self._head.length

    @property
    def sent(self) -> int:
        """Bytes of body sent so far."""
        return self._exchange.sent

    @property
    def head_only(self) -> bool:
        """Whether the client asked for no more than the head."""
        return self._exchange.head.head_only

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Keep status and headers until the first byte of the body; return PEP 3333's ``write``.

        ``write`` is the response itself, since hardly any application calls it, and a bound method would have to be
        made each time.

        :param exc_info: an error handler's ``sys.exc_info()``: what was kept before is replaced, or, if it has left
            already, the exception is raised again.
        :raises ResponseError: status or headers are malformed, or it is the second call, without ``exc_info``.
        """
        if exc_info:
            error = exc_info[1]
            try:
                if self._exchange.head_sent and error is not None:
                    raise error.with_traceback(exc_info[2])
            finally:
                exc_info = error = None  # a traceback refers to this frame, which must not refer to it
        elif self._head is not None:
            raise ResponseError("start_response was called a second time: pass exc_info to replace the response")
        head = self._last.head_of(self._exchange, status, headers)
        if head.code == 101 and not self._exchange.head.fields.upgrade:
            raise ResponseError("start_response got the status 101, but the request asks for no Upgrade")
        self._head = head
        self._staged = False
        return self

    def __call__(self, data: bytes) -> None:
        """See :meth:`write`."""
        self.write(data)

    def write(self, data: bytes) -> None:
        """Send a piece of the body at once, with the head before the first. Every chunk of a stream is sent here.

        :raises ClientDisconnected: the client left.
        :raises ResponseError: it is not bytes, or start_response was not called.
        """
        piece = data if type(data) is bytes else _plain(data)
        if self.ended:
            raise ResponseError("write was called after the response had ended")
        if not piece:
            return
        if not self._staged:
            self._stage(None)
        try:
            self._exchange.write(piece)
        except ClientDisconnected as error:
            self.failure = error
            raise

    def write_last(self, data: bytes, at_once: bool = False) -> None:
        """Send ``data`` as the last piece. If it is the only one, its length is that of the response.

        :param at_once: the end of the exchange follows, and no code of the application runs in between; see
            :meth:`.Exchange.write`.
        """
        piece = data if type(data) is bytes else _plain(data)
        if not self._staged:
            self._stage(len(piece))
        if piece:
            self._exchange.write(piece, at_once)

    def write_file(self, fileno: int, offset: int, count: int) -> None:
        """Send a part of a regular file, after which nothing follows."""
        if not self._staged:
            self._stage(count)
        if count and not self.head_only and self.status_code not in _WITHOUT_CONTENT:
            self._exchange.send_file(fileno, offset, count)

    def finish(self) -> str | None:
        """End the response; return the exchange's complaint about its length, if it has one.

        :raises ResponseError: start_response was not called.
        """
        if not self._staged:
            self._stage(0)
        return self._exchange.finish()

    def replace(self, code: int) -> None:
        """Set the status to ``code``, for the access log."""
        self._head = ResponseHead(status_line(code), code, self.headers if self._exchange.head_sent else [])

    def follow(self, exchange: Exchange) -> None:
        """Tell of another exchange, which goes on with this response. Nothing is written by ``write`` any more."""
        self._exchange = exchange
        self.ended = True

    def take_back(self) -> None:
        """Forget what the application has said, which is called again; nothing of it has been sent."""
        self._head = None

    def resume(self, status: str | None, headers: Iterable[Iterable[str]]) -> None:
        """Have the status and the headers of a response that another worker has begun."""
        if status is not None:  # an upgraded connection may have none
            self._head = ResponseHead(status, int(status[:3]), tuple((name, value) for name, value in headers))
        self.ended = True

    def cut(self) -> None:
        """Abort the response; if nothing of it has left, it has no status."""
        if not self._exchange.head_sent:
            self._head = None
        self._exchange.abort()

    def _stage(self, length: int | None) -> None:
        """Pass the head to the exchange.

        :param length: the whole body's length, if it is known by now. It is not passed on where an absent body says
            nothing about the length of the one that it stands for (RFC 9110 section 8.6).
        """
        head = self._head
        if head is None:
            if self._exchange.taken:
                return  # the application took the connection over, through geventwsgi.socket
            raise ResponseError("the application did not call start_response before its body began or ended")
        if (head.code != 200 and head.code in _WITHOUT_CONTENT) or (length == 0 and self.head_only):
            length = None
        self._exchange.start(head, length)
        self._staged = True


def _is_field(field: Any, last: tuple[str, str]) -> bool:
    """Return whether a field from an application is equal to one of the last head."""
    if type(field) is not tuple or len(field) != 2:
        return False
    pair = field
    name, value = pair[0], pair[1]
    return type(name) is str and type(value) is str and name == last[0] and value == last[1]


def _checked(status: Any, headers: Any) -> tuple[ResponseHead, list[str]]:
    """Return the head for the arguments of start_response, and the lower-cased names of the fields that are left out.

    :raises ResponseError: status or headers are malformed.
    """
    if not issubclass(type(status), str):
        raise ResponseError(f"the status is of type {type(status).__name__}: pass a str")
    if not issubclass(type(headers), list):
        raise ResponseError(f"the headers are of type {type(headers).__name__}: pass a list of tuples")
    status = _exact(status)
    code = _STATUS_CODES[status]
    fields = exact_fields(list.copy(headers))  # the application may change its list later
    allowed = _SWITCHING if code == 101 else _NOTHING
    left_out: list[str] = []
    length = check_fields(fields, allowed, left_out)
    if not left_out:
        return ResponseHead(status, code, fields, length), left_out
    closes, kept = False, []
    for field in fields:
        lower = field[0].lower()
        if lower not in left_out:
            kept.append(field)
        elif lower == "connection" and _CLOSE.search(field[1]) is not None:
            closes = True
    return ResponseHead(status, code, tuple(kept), length, closes=closes), left_out


def _parsed_status(status: str) -> int:
    if STATUS.fullmatch(status) is None:
        raise ResponseError(f"the status is {status[:80]!r}: pass three digits, a space and a reason, as in '200 OK'")
    code = int(status[:3])
    if code < 200 and code != 101:
        raise ResponseError(f"the status is {code}: the only 1xx status that an application may send is 101")
    return code


_STATUS_CODES = Memo(_parsed_status)


def _special_name(name: str) -> str:
    """Return the lower-cased name of a field that is treated specially, "" for any other."""
    if FIELD_NAME.fullmatch(name) is None:
        raise ResponseError(f"the response header name {name[:80]!r} is not a token (RFC 9110 section 5.6.2)")
    lower = name.lower()
    return lower if lower in HOP_BY_HOP or lower == "content-length" else ""


_SPECIAL_NAMES = Memo(_special_name)


def exact_fields(headers: Iterable[Any]) -> Fields:
    """Return fields as tuples of exactly str, so that the checked values are those that are sent.

    Types that are derived from tuple or str may define methods of their own. So only methods of tuple and str are
    called.

    :raises ResponseError: one is not a tuple of two texts.
    """
    fields = []
    for field in headers:
        if not issubclass(type(field), tuple) or tuple.__len__(field) != 2:
            raise ResponseError(f"a response header is {_shape(field)}: pass a tuple of name and value")
        name, value = tuple.__getitem__(field, 0), tuple.__getitem__(field, 1)
        if type(field) is not tuple or type(name) is not str or type(value) is not str:
            if not issubclass(type(name), str) or not issubclass(type(value), str):
                raise ResponseError(f"a response header is {_shape(field)}: name and value must be str")
            field = (_exact(name), _exact(value))  # noqa: PLW2901 - the exact one from here on
        fields.append(field)
    return tuple(fields)


def check_fields(fields: Fields, allowed: frozenset[str] = _NOTHING, left_out: list[str] | None = None) -> int | None:
    """Check fields; return their Content-Length, None without one.

    :param fields: as :func:`exact_fields` returns them.
    :param allowed: the hop-by-hop names that this response may have.
    :param left_out: gets the lower-cased names of the others, which are then no error.
    :raises ResponseError: one is malformed, or not the application's to say.
    """
    length: str | None = None
    for name, value in fields:
        special = _SPECIAL_NAMES[name]
        # Both methods together cost a third of the regular expression, and nearly every value is printable ASCII.
        if not (value.isascii() and value.isprintable()) and FIELD_VALUE.fullmatch(value) is None:
            raise ResponseError(f"the value of the response header {name} holds a character that HTTP does not allow")
        if special == "content-length":
            if length is not None and length != value:
                raise ResponseError("the response headers have two Content-Lengths that differ")
            length = value
        elif special and special not in allowed:
            if left_out is not None:
                left_out.append(special)
                continue
            raise ResponseError(f"the response header {name} is hop-by-hop, the server's own: leave it out (PEP 3333)")
    return None if length is None else _parsed_length(length)


def _exact(text: str) -> str:
    """Return the str of a derived type as exactly str, without running any code of that type."""
    return text if type(text) is str else str.__str__(text)


def _parsed_length(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ResponseError(f"the response header Content-Length is {value[:80]!r}: pass digits alone")
    if len(value) > 18:  # more do not fit what operating systems count files in
        raise ResponseError(f"the response header Content-Length has {len(value)} digits: no body is that long")
    return int(value)


def _plain(data: Any) -> bytes:
    """Return the bytes of a derived type as exactly bytes, without running any code of that type.

    :raises ResponseError: it is something else.
    """
    if not issubclass(type(data), bytes):
        raise ResponseError(f"the response body holds a value of type {type(data).__name__}: it must be made of bytes")
    return bytes.__getitem__(data, slice(None))


def _shape(field: Any) -> str:
    """Name the types of a malformed header, never its value, which may be a secret."""
    if issubclass(type(field), tuple):
        return f"a tuple of ({', '.join(type(item).__name__ for item in tuple.__iter__(field))})"
    return f"of type {type(field).__name__}"
