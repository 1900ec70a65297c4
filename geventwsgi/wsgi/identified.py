"""Requests with an identity (``request_id_header``): where it comes from, and who gets to know it.

A forwarder that is trusted names it; any other request gets a new one. The application finds it in its environ, the
client in the response, and the operator in both logs.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from geventwsgi.observe.outputs.request_id import CURRENT, KEY
from geventwsgi.wsgi import response
from geventwsgi.wsgi.exchange import ResponseHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.wsgi.exchange import Exchange, Headers
    from geventwsgi.wsgi.response import ExcInfo, LastHead

#: What is taken from a forwarder. Anything else would be unfit for a log, or larger than an identity needs to be.
ACCEPTABLE = re.compile(r"[\x21-\x7e]{1,200}")


class Identities:
    """Gives each request its identity.

    :param name: the field that carries it, in requests and responses.
    """

    __slots__ = ("_key", "_lower", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._lower = name.lower()
        self._key = "HTTP_" + name.upper().replace("-", "_")

    def begin(self, exchange: Exchange, last: LastHead, former: response.Response | None = None) -> response.Response:
        """Return the response to a request, which knows the request's identity.

        :param former: the response that the same request had so far.
        """
        identity = identity_of(former) if former is not None else self._given(exchange) if exchange.trusted else None
        if identity is None:
            identity = os.urandom(16).hex()
        CURRENT.set(identity)
        exchange.identity = identity
        return Identified(exchange, last, self.name, identity)

    def tell(self, environ: dict[str, Any], answer: response.Response) -> None:
        """Let the application know; a field of that name which the client has sent is replaced."""
        environ[KEY] = environ[self._key] = identity_of(answer)

    def fields(self, answer: response.Response) -> Headers:
        """Return the fields of an answer that is the server's own."""
        return ((self.name, identity_of(answer)),)

    def resume(self, environ: dict[str, Any] | None) -> None:
        """Let the log know which request goes on in this greenlet."""
        if environ is not None:
            CURRENT.set(environ.get(KEY))

    def _given(self, exchange: Exchange) -> str | None:
        """Return what the peer says; None if that is nothing, no single value, or unfit."""
        values = _values(exchange.head.fields.items, self._lower)
        return values[0] if len(values) == 1 and ACCEPTABLE.fullmatch(values[0]) else None


class Identified(response.Response):
    """A response with the request's identity among its fields, unless the application sets that field itself.

    :param name: the field.
    """

    __slots__ = ("_name", "identity")

    def __init__(self, exchange: Exchange, last: LastHead, name: str, identity: str) -> None:
        super().__init__(exchange, last)
        self._name = name
        self.identity = identity

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """See :meth:`.Response.start_response`."""
        response.Response.start_response(self, status, headers, exc_info)
        self._with_identity()
        return self

    def _with_identity(self) -> None:
        head = self._head
        if head is not None and not _values(head.headers, self._name.lower()):
            fields = (*head.headers, (self._name, self.identity))
            self._head = ResponseHead(head.status, head.code, fields, head.length, closes=head.closes)


def _values(fields: Headers, lower: str) -> list[str]:
    """Return the values of the fields of a name."""
    return [value for name, value in fields if name.lower() == lower]


def identity_of(answer: response.Response) -> str:
    """Return the identity of the request that a response answers; ``""`` if it has none."""
    return answer.identity if isinstance(answer, Identified) else ""
