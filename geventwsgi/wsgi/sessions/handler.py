"""The methods of a WebSocket's handler, as an application writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from geventwsgi.wsgi.sessions.handled import HandledWebSocket


class Handler(Protocol):
    """What an application passes to ``environ["wsgi.websocket"].handle``. Only :meth:`on_message` must be there.

    Each method is called in a greenlet, may wait, and is the only one that runs for this WebSocket; the next message is
    received when it has returned. An exception closes the WebSocket with 1011, and its traceback is logged.
    """

    def on_open(self, ws: HandledWebSocket) -> object:
        """Begin: called once, first, after the application has returned."""

    def on_message(self, ws: HandledWebSocket, message: str | bytes) -> object:
        """Act on a message: ``str`` if the client has sent it as text, else ``bytes``."""

    def on_close(self, ws: HandledWebSocket, code: int, reason: str) -> object:
        """Act on the end: called once, last.

        It is not called where another worker goes on with the WebSocket.

        :param code: the status of the close frame (RFC 6455 section 7.4); 1005 if it had none, 1006 if the client has
            gone without one.
        :param reason: its reason, mostly "".
        """

    def on_handover(self, ws: HandledWebSocket) -> object:
        """Return what :meth:`on_takeover` is to get, values for JSON. Called last, in the hub; must not wait."""

    def on_takeover(self, ws: HandledWebSocket, state: Any) -> object:
        """Begin in a new object of the class, made without arguments, where a handler in another worker has left off.

        A handler without this method is made anew as well, if it has no attributes.
        """
