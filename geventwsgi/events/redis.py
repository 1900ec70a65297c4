"""Channels across machines: each is a stream in Redis, to which all publishers append and which all workers read.

Redis brings the messages into one order and keeps the last ones, so that a worker that starts, or that has lost its
connection for a while, reads on from where it was. Needs the ``redis`` package, whose sockets must be gevent's.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

if TYPE_CHECKING:
    from geventwsgi.events.channel import Channel

log = logging.getLogger("geventwsgi.events")

#: What the streams' keys begin with.
PREFIX = "geventwsgi:channel:"
#: The name of Redis as a publisher: its order is the one that counts.
SOURCE = "redis"
#: Milliseconds for which a read waits in Redis.
BLOCK = 5000
#: Messages read at once.
COUNT = 250
#: Redis keeps so many times what a channel does: a worker that computes for a while is behind by what others publish.
RETAINED = 10
#: Seconds after which Redis forgets a channel in which nothing is published.
EXPIRY = 86400
#: Seconds that a worker waits for Redis at its start, and between two tries later.
CATCH_UP, RETRY = 5.0, 1.0
#: Publishers whose numbers are remembered, to see what was lost.
PUBLISHERS = 1000


class RedisCarrier:
    """Carries one channel.

    :param url: of the server, as ``redis.Redis.from_url`` takes it.
    :raises RuntimeError: the package is missing, or the standard library is not patched.
    """

    counted = False

    def __init__(self, url: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
        except ImportError:
            raise RuntimeError(
                "a channel through Redis needs the redis package: pip install geventwsgi[redis]"
            ) from None
        if not monkey.is_module_patched("socket"):
            raise RuntimeError("waiting for Redis would block every greenlet: call gevent.monkey.patch_all() first")
        self._failures: tuple[type[Exception], ...] = (redis.ConnectionError, redis.TimeoutError)
        # A read waits for BLOCK inside Redis; whatever takes much longer is a broken connection.
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=3 * BLOCK / 1000, socket_connect_timeout=5)
        self._source = os.urandom(4).hex()
        self._number = 0
        self._numbers: dict[bytes, int] = {}
        self._last = b"0"
        self._caught_up = Event()
        #: When the stream's life is prolonged next (monotonic): not with each message.
        self._prolong_at = 0.0
        self._reader: Any = None

    def join(self, channel: Channel) -> None:
        """See :class:`~geventwsgi.events.channel.Carrier`; waits a while for a Redis that does not answer."""
        self._reader = gevent.spawn(self._read, channel)
        if not self._caught_up.wait(CATCH_UP):
            log.error("The channel %r does not reach Redis yet; it keeps trying", channel.name)

    def leave(self, channel: Channel) -> None:
        """See :class:`~geventwsgi.events.channel.Carrier`."""
        del channel
        self._reader.kill(block=False)
        self._redis.close()

    def publish(self, channel: Channel, text: str) -> None:
        """Append ``text`` to the stream; it comes back to this process too.

        :raises ConnectionError: Redis cannot be reached.
        """
        self._number += 1
        fields = {"s": self._source, "n": self._number, "t": text.encode("utf-8", "surrogatepass")}
        key, now = PREFIX + channel.name, time.monotonic()
        try:
            self._redis.xadd(key, fields, maxlen=RETAINED * channel.keep, approximate=True)
            if now > self._prolong_at:
                self._prolong_at = now + EXPIRY / 100
                self._redis.expire(key, EXPIRY)
        except self._failures as error:
            raise ConnectionError(f"the channel {channel.name!r} does not reach Redis: {error}") from error

    def _read(self, channel: Channel) -> None:
        """Read on for ever; a greenlet's body."""
        told = False
        while not channel.closed:
            try:
                self._read_on(channel)
                told = False
            except self._failures as error:  # noqa: PERF203 - it is waited for anyway
                if not told:
                    log.error("The channel %r has lost Redis: %s", channel.name, error)  # noqa: TRY400 - no bug
                told = True
                gevent.sleep(RETRY)

    def _read_on(self, channel: Channel) -> None:
        key = PREFIX + channel.name
        if not self._caught_up.is_set():
            for entry_id, fields in reversed(self._redis.xrevrange(key, count=channel.keep)):
                self._deliver(channel, entry_id, fields)
            self._caught_up.set()
        for _, entries in self._redis.xread({key: self._last}, count=COUNT, block=BLOCK) or ():
            for entry_id, fields in entries:
                self._deliver(channel, entry_id, fields)

    def _deliver(self, channel: Channel, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        self._last = entry_id
        source, number = fields[b"s"], int(fields[b"n"])
        lost = number - self._numbers.pop(source, number - 1) - 1
        self._numbers[source] = number  # at the end: the first ones are those that have been silent for longest
        if len(self._numbers) > PUBLISHERS:
            del self._numbers[next(iter(self._numbers))]
        milliseconds, _, sequence = entry_id.partition(b"-")
        place = (int(milliseconds) << 20) + int(sequence)
        channel.deliver(SOURCE, place, fields[b"t"].decode("utf-8", "surrogatepass"), max(0, lost))
        channel.pace()
