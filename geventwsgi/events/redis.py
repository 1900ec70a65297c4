"""Channels across machines: each is a stream in Redis, to which all publishers append and which all workers read.

Redis brings the messages into one order, numbers them, and keeps the last ones, so that a worker that starts, or that
has lost its connection for a while, reads on from where it was. Whatever Redis says or a stream holds is told in one
line of the log, and a worker reads on. Needs the ``redis`` package, whose sockets must be gevent's.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from gevent import monkey, spawn_raw
from gevent.event import Event

from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from geventwsgi.events.carrier import Feed

#: What the keys of streams begin with, and those of what is known of a stream.
PREFIX, STATE = b"geventwsgi:channel:", b"geventwsgi:numbers:"
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
#: Seconds that a worker waits for Redis at its start, and between two tries later; those that a call takes at the most.
CATCH_UP, RETRY, TIMEOUT = 5.0, 1.0, 5.0
#: Bits of an entry's sequence within its millisecond.
SEQUENCE_BITS = 64
#: Tickets and numbers have fewer decimal digits than a cursor takes.
MAX_TICKET, MAX_NUMBER = 10**45, 10**18
#: What a stream calls itself.
_WORLD = re.compile(r"[0-9a-f]{16}")

#: Appends a message with its number, in one step, so that the numbers of what is in the stream have no gap. A stream
#: that begins gets a name of its own. KEYS: the stream, what is known of it; ARGV: most entries, text, name, seconds.
APPEND = """
local world = redis.call('HGET', KEYS[2], 'w')
if not world then
    world = ARGV[3]
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'w', world)
end
local number = (tonumber(redis.call('HGET', KEYS[2], 'n')) or 0) + 1
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'w', world, 'n', number, 't', ARGV[2])
redis.call('HSET', KEYS[2], 'n', number)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
"""


class RedisCarrier:
    """Carries one channel.

    :param url: of the server, as ``redis.Redis.from_url`` takes it.
    :raises RuntimeError: the package is missing, or the standard library is not patched.
    :raises ValueError: the URL is none.
    """

    counted = False
    #: The entries tell.
    world = ""
    #: Nobody here knows.
    last = None
    #: Servers that a channel has waited for in vain at its start, and that have not answered since: others do not wait.
    _absent: ClassVar[set[str]] = set()

    def __init__(self, url: str) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError:
            raise RuntimeError(
                "a channel through Redis needs the redis package: pip install geventwsgi[redis]"
            ) from None
        if not monkey.is_module_patched("socket"):
            raise RuntimeError("waiting for Redis would block every greenlet: call gevent.monkey.patch_all() first")
        self._url = url
        # Whether a message has arrived that no answer came to is not known: to send it again might double it.
        options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_connect_timeout": TIMEOUT}
        self._publishing: Any = redis.Redis.from_url(url, socket_timeout=TIMEOUT, **options)
        # A read waits for BLOCK inside Redis; whatever takes much longer is a broken connection.
        self._reading: Any = redis.Redis.from_url(url, socket_timeout=BLOCK / 1000 + TIMEOUT, **options)
        self._append: Any = self._publishing.register_script(APPEND)
        self._last = b"0"
        self._caught_up = Event()
        self._reader: Any = None
        #: What the log has been told and has not been mended since.
        self._told: set[str] = set()

    def join(self, channel: Feed) -> None:
        """See :class:`~geventwsgi.events.carrier.Carrier`; waits a while for a Redis that does not answer."""
        self._reader = spawn_raw(self._read, channel)
        if not self._caught_up.wait(0 if self._url in self._absent else CATCH_UP):
            self._absent.add(self._url)
            HERE.complain("The channel %r does not reach Redis yet; it keeps trying", channel.name)

    def leave(self, channel: Feed) -> None:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        del channel
        gevent.kill(self._reader)
        self._publishing.close()
        self._reading.close()

    def publish(self, channel: Feed, text: str) -> None:
        """Append ``text`` to the stream; it comes back to this process too.

        :raises ConnectionError: Redis cannot be reached, or says that it does not take it.
        """
        data = text.encode("utf-8", "surrogatepass")
        try:
            self._append(_keys(channel), [RETAINED * channel.keep, data, os.urandom(8).hex(), EXPIRY])
        except Exception as error:
            raise ConnectionError(f"the channel {channel.name!r} does not reach Redis: {error}") from error

    # Reading

    def _read(self, channel: Feed) -> None:
        """Read on until the channel is closed, whatever happens; a greenlet's body."""
        while not channel.closed:
            try:
                self._read_on(channel)
                self._absent.discard(self._url)
                self._told.discard("lost")
            except Exception as error:  # noqa: BLE001, PERF203 - it is told, and tried again
                if not channel.closed:
                    self._tell("lost", "The channel %r has lost Redis, and tries again: %s", channel.name, error)
                gevent.sleep(RETRY)

    def _tell(self, what: str, text: str, *args: object) -> None:
        if what not in self._told:
            self._told.add(what)
            HERE.complain(text, *args)

    def _read_on(self, channel: Feed) -> None:
        """Read what there is, and wait for more.

        :raises Exception: anything that Redis or its client may say.
        """
        key, state = _keys(channel)
        if not self._caught_up.is_set():
            entries = self._reading.xrevrange(key, count=channel.keep)
            world, number = self._reading.hmget(state, "w", "n")
            if not entries and world and number:
                channel.enter(world.decode(), int(number))
            for entry_id, fields in reversed(entries):
                self._deliver(channel, entry_id, fields)
            self._caught_up.set()
        found = self._reading.xread({key: self._last}, count=COUNT, block=BLOCK)
        for _, entries in found or ():
            for entry_id, fields in entries:
                self._deliver(channel, entry_id, fields)
        if not found:
            self._look_for_another(key)

    def _look_for_another(self, key: bytes) -> None:
        """Begin at the beginning if the stream is not the one that was read: Redis may have lost it, or its clock."""
        newest = self._reading.xrevrange(key, count=1)
        if not newest or _ticket(newest[0][0]) < _ticket(self._last):
            self._last = b"0"

    def _deliver(self, channel: Feed, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        self._last = entry_id
        try:
            ticket = _ticket(entry_id)
            world, number, text = fields[b"w"].decode("ascii"), int(fields[b"n"]), fields[b"t"]
            message = text.decode("utf-8", "surrogatepass")
            if not (_WORLD.fullmatch(world) and 0 < number < MAX_NUMBER and ticket < MAX_TICKET):
                raise ValueError("out of range")  # noqa: TRY301
        except (KeyError, ValueError, TypeError):
            self._tell(
                "foreign", "The channel %r passes over what is not its own in its stream: %r", channel.name, entry_id
            )
            return
        channel.enter(world, number - 1)
        channel.deliver(SOURCE, ticket, message, ticket=ticket, total=number)
        channel.pace()


def _keys(channel: Feed) -> tuple[bytes, bytes]:
    name = channel.name.encode("utf-8", "surrogatepass")
    return PREFIX + name, STATE + name


def _ticket(entry_id: bytes) -> int:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return (int(milliseconds) << SEQUENCE_BITS) + int(sequence or 0)
