"""The environ (PEP 3333, "environ Variables"): a request's head and peer in CGI's names (RFC 3875 section 4.1).

It turns header fields into keys, and decides about ambiguous names (``header_map``, ``forwarder_headers``). The keys
that all requests of a server share are given to it as ``base``. Whether a peer is trusted is decided elsewhere.

A connection's requests mostly repeat their header block, in part or as a whole. To copy a dictionary costs a tenth of
filling it. So the common part is kept from the second request on (:mod:`repeated`). Of blocks that other connections
send too, the part that depends on the block alone is kept in ``head.fields.cgi``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.errors import RequestError
from geventwsgi.wsgi.files import FileWrapper
from geventwsgi.wsgi.input import EMPTY, Input
from geventwsgi.wsgi.memo import Memo
from geventwsgi.wsgi.repeated import Repeated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from geventwsgi.http.head import Fields, RequestHead
    from geventwsgi.wsgi.exchange import Exchange

_PROTOCOLS = {(1, 1): "HTTP/1.1", (1, 0): "HTTP/1.0"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _environ_key(name: str) -> str | None:
    """Return the key of a field name; None if it depends on more than the name."""
    upper = name.upper()
    if upper == "CONTENT-TYPE":
        return "CONTENT_TYPE"
    # Content-Length comes from the framing, so that no two readings of it exist. Proxy would become HTTP_PROXY, which
    # many HTTP clients inside an application take for the proxy to use ("httpoxy", CVE-2016-5385).
    if "_" in upper or upper in ("CONTENT-LENGTH", "PROXY"):
        return None
    return "HTTP_" + upper.replace("-", "_")


_KEYS = Memo(_environ_key)


class EnvironBuilder:
    """Builds each request's environ.

    :param base: the keys that all requests share (SERVER_NAME, ``wsgi.errors``, ...). SERVER_NAME and SERVER_PORT may
        be "" or absent on a unix socket: then the Host field is used. SCRIPT_NAME is where the application is mounted.
    :param header_map: what becomes of names with an underscore, which have the same key as those with a hyphen: "drop",
        "refuse" (400) or "dangerous" (mapped).
    :param forwarder_headers: names with an underscore, in any case, that a trusted peer may send; "*" for all.
    """

    def __init__(self, base: Mapping[str, Any], *, header_map: str, forwarder_headers: Collection[str]) -> None:
        self._base = {
            "SCRIPT_NAME": "",
            **base,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input": EMPTY,
            "wsgi.input_terminated": True,
        }
        self._header_map = header_map
        self._forwarder_headers = frozenset(name.upper() for name in forwarder_headers)

    def build(self, exchange: Exchange) -> dict[str, Any]:
        """Return a fresh environ.

        :raises RequestError: 400, a field name is ambiguous and ``header_map`` is "refuse"; 500, the path is not below
            SCRIPT_NAME.
        """
        head = exchange.head
        fields = head.fields
        repeated = exchange.repeated
        if repeated is None:
            environ = self._of_connection(exchange)
            _add_request_line(environ, head)
            exchange.repeated = Repeated(fields)
        else:
            if repeated.fields is not fields:
                _follow(repeated, exchange)
            shared = repeated.environ
            if shared is None:
                repeated.head = None
                shared = repeated.environ = self._of_connection(exchange)
            if repeated.head is not head:
                _follow_line(repeated, shared, head)
            environ = shared.copy()
        if head.authority is not None:
            environ["HTTP_HOST"] = head.authority
        if fields.chunked:
            environ["geventwsgi.trailers"] = exchange.trailers
        if fields.upgrade or head.tunnel:
            # WebSocket libraries know gunicorn's name for it.
            environ["geventwsgi.socket"] = environ["gunicorn.socket"] = exchange.raw_socket()
        if exchange.has_body:
            environ["wsgi.input"] = Input(exchange)
        return environ

    def visible_fields(self, exchange: Exchange) -> list[tuple[str, str]]:
        """Return the request's fields, names in upper case, without those that are dropped."""
        fields = [(name.upper(), value) for name, value in exchange.head.fields.items]
        if self._header_map == "dangerous":
            return fields
        vouched = self._forwarder_headers if exchange.trusted else frozenset[str]()
        return [field for field in fields if "_" not in field[0] or field[0] in vouched or "*" in vouched]

    def _of_connection(self, exchange: Exchange) -> dict[str, Any]:
        """Return the keys that are the same as long as the same peer repeats the header block."""
        fields = exchange.head.fields
        if not fields.known:
            environ = self._of_block(exchange)
        else:
            kept = fields.cgi_trusted if exchange.trusted else fields.cgi
            if kept is None or kept["wsgi.url_scheme"] != exchange.scheme:
                kept = self._of_block(exchange)
                if exchange.trusted:
                    fields.cgi_trusted = kept
                else:
                    fields.cgi = kept
            environ = kept.copy()
        environ["REMOTE_ADDR"] = exchange.remote_addr
        environ["REMOTE_PORT"] = port_text(exchange.remote_port)
        exchange.extend(environ)
        return environ

    def _of_block(self, exchange: Exchange) -> dict[str, Any]:
        """Return the keys that depend on the server and the header block alone."""
        fields = exchange.head.fields
        scheme = exchange.scheme
        environ = self._base.copy()
        environ["wsgi.url_scheme"] = scheme
        if scheme == "https":
            environ["HTTPS"] = "on"
        if not environ.get("SERVER_NAME"):
            _name_server(environ, fields.host)
        if fields.content_length is not None and not fields.chunked:
            environ["CONTENT_LENGTH"] = str(fields.content_length)
        self._add_fields(environ, fields, trusted=exchange.trusted)
        environ["SCRIPT_NAME"] = environ["SCRIPT_NAME"].rstrip("/")
        return environ

    def _add_fields(self, environ: dict[str, Any], fields: Fields, *, trusted: bool) -> None:
        """Add the fields' keys. Those that a trusted forwarder sets replace others of the same key."""
        mapped = []
        vouched = []
        for name, value in fields.items:
            key = _KEYS[name]
            if key is not None:
                mapped.append((key, value))
            elif "_" in name:
                key = "HTTP_" + name.upper().replace("-", "_")
                if trusted and not self._forwarder_headers.isdisjoint((name.upper(), "*")):
                    vouched.append((key, value))
                elif self._header_map == "dangerous":
                    mapped.append((key, value))
                elif self._header_map == "refuse":
                    raise RequestError(400, "a header name holds an underscore (header_map is 'refuse')")
        environ.update(_joined(mapped))
        forwarded = _joined(vouched)
        environ.update(forwarded)
        if "HTTP_SCRIPT_NAME" in forwarded:
            environ["SCRIPT_NAME"] = forwarded["HTTP_SCRIPT_NAME"]


def port_text(port: int) -> str:
    """Return a client's port as REMOTE_PORT has it; 0 stands for none."""
    return str(port) if port else ""


def _follow(repeated: Repeated, exchange: Exchange) -> None:
    """Change the kept environ to another request's fields, which may differ from the last one's in a few values."""
    fields, scheme = exchange.head.fields, exchange.scheme
    environ = repeated.environ
    repeated.environ = None  # until all keys are set
    if environ is not None and fields.former is repeated.fields and environ["wsgi.url_scheme"] == scheme:
        for name, value in fields.changes:
            key = _KEYS[name]
            if key is not None:
                environ[key] = value
        if environ["REMOTE_ADDR"] is not exchange.remote_addr:  # a forwarder has sent another client's address
            environ["REMOTE_ADDR"] = exchange.remote_addr
            environ["REMOTE_PORT"] = port_text(exchange.remote_port)
    else:
        environ = None
    fields.former = None
    repeated.fields = fields
    repeated.environ = environ


def _follow_line(repeated: Repeated, shared: dict[str, Any], head: RequestHead) -> None:
    """Change the kept environ to another request's line, which may be the same."""
    former = repeated.head
    if (
        former is None
        or former.version is not head.version
        or former.target != head.target
        or former.method != head.method
    ):
        repeated.head = None  # until all keys are set
        _add_request_line(shared, head)
    repeated.head = head


def _add_request_line(shared: dict[str, Any], head: RequestHead) -> None:
    """Set the keys that depend on the request line alone."""
    shared["REQUEST_METHOD"] = head.method
    shared["QUERY_STRING"] = head.query
    shared["SERVER_PROTOCOL"] = _PROTOCOLS[head.version]
    shared["PATH_INFO"] = decoded_path(shared["SCRIPT_NAME"], head.path)
    shared["RAW_URI"] = head.target


def decoded_path(script_name: str, path: str) -> str:
    """Return PATH_INFO for a percent-encoded path.

    :raises RequestError: 500, it is not below SCRIPT_NAME.
    """
    decoded = path if "%" not in path else _decoded(path)
    return _below(script_name, decoded) if script_name else decoded


def field_keys(fields: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Return the keys and values of fields that come from the operator's own code: no name is dropped."""
    pairs = [(str(name).upper(), value if isinstance(value, str) else str(value)) for name, value in fields]
    return _joined(
        (_environ_key(name) or "HTTP_" + name.replace("-", "_"), value)
        for name, value in pairs
        if name not in ("CONTENT-LENGTH", "PROXY")
    )


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a dictionary, repeated keys joined (RFC 9110 section 5.3; Cookie: RFC 6265 section 5.4)."""
    joined: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for key, value in pairs:
        if key in joined:
            repeated.setdefault(key, [joined[key]]).append(value)
        else:
            joined[key] = value
    for key, values in repeated.items():
        joined[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    return joined


def _decoded(path: str) -> str:
    """Return a percent-encoded path as PEP 3333 has it ("Unicode Issues"): bytes, decoded as latin-1."""
    from urllib.parse import unquote_to_bytes  # takes 1 ms, which would delay a worker's first response

    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


def _below(script_name: str, path: str) -> str:
    """Return PATH_INFO: what follows SCRIPT_NAME in the path. ``OPTIONS *`` and CONNECT have no path to shorten."""
    if path == script_name or path.startswith(script_name + "/"):
        return path[len(script_name) :]
    if path in ("*", ""):
        return path
    raise RequestError(500, f"the path is not below SCRIPT_NAME {script_name!r}: let the proxy forward such paths only")


def _name_server(environ: dict[str, Any], host: str | None) -> None:
    """Set SERVER_NAME and SERVER_PORT, which a unix socket does not have, from the Host field (never empty)."""
    name, port = host or "localhost", ""
    if ":" in name.rpartition("]")[2]:
        name, _, port = name.rpartition(":")
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = port or _DEFAULT_PORTS[environ["wsgi.url_scheme"]]
