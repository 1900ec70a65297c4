"""A client manager for python-socketio (and Flask-SocketIO): rooms, broadcasts and callbacks over all workers.

It does what python-socketio's managers for message queues do, without a queue: by a channel (:mod:`geventwsgi.events`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from socketio import PubSubManager

from geventwsgi.events import Channel, publish

if TYPE_CHECKING:
    from collections.abc import Iterator


class ChannelManager(PubSubManager):  # type: ignore[misc]  # it has no types
    """Connects the Socket.IO servers of all workers of one master.

    Example::

        socketio = SocketIO(app, client_manager=ChannelManager())

    :param channel: the name of the channel.
    :param write_only: only emit, from a program that is no worker of the server.
    :param pid: then, the process id of the server's master; not needed if this user has only one server.
    :param pidfile: then, instead of ``pid`` the file that the server's setting ``pidfile`` names.
    :param options: ``logger`` and ``json``, as python-socketio's managers have them.
    """

    name = "geventwsgi"

    def __init__(
        self, channel: str = "socketio", *, write_only: bool = False, pid: int | None = None,
        pidfile: str | os.PathLike[str] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(channel, write_only, **options)
        self._pid, self._pidfile = pid, pidfile
        #: Joined before the worker serves.
        self._joined: Any = None if write_only else Channel(channel)

    @property
    def host_id(self) -> str:
        """The process, by which python-socketio tells a worker's own messages from those of others.

        With ``preload_app`` the workers are forked with one manager.
        """
        return f"{self._id}.{os.getpid()}"

    @host_id.setter
    def host_id(self, value: str) -> None:
        self._id = value

    def _publish(self, data: Any) -> None:
        """See :class:`socketio.PubSubManager`."""
        text = self.json.dumps(data)
        if self.write_only:
            publish(self.channel, text, pid=self._pid, pidfile=self._pidfile)
        else:
            self._joined.publish(text)

    def _listen(self) -> Iterator[Any]:
        """See :class:`socketio.PubSubManager`."""
        with self._joined.subscribe() as subscription:
            for message in subscription:
                if message.missed:
                    self._get_logger().warning(
                        "%s messages of other workers were lost: this one was too busy to take them in time",
                        message.missed,
                    )
                yield message.data
