"""Channels across machines: each is a stream in Redis, to which all publishers append.

Redis brings the messages into one order, numbers them, keeps the last ones, and sends each to the workers that have
joined its channel (``PUBLISH``). A worker reads the stream itself when it joins, and when it has missed something: by
that it goes on where it was after a lost connection. Whatever Redis says or a stream holds is told in one line of the
log, and a worker reads on. Needs the ``redis`` package, whose sockets must be gevent's.

A process has two connections for all its channels in one Redis: one for commands, and one on which messages come.
"""

from __future__ import annotations

import os
from hashlib import sha1
from itertools import islice
from typing import TYPE_CHECKING, Any

import gevent
from gevent import get_hub, monkey, spawn_raw
from gevent.event import Event
from gevent.lock import RLock
from greenlet import getcurrent

from geventwsgi.clock import monotonic
from geventwsgi.events.redis_stream import Stream, keys
from geventwsgi.events.topic import Topics
from geventwsgi.mesh.place import HERE

if TYPE_CHECKING:
    from geventwsgi.events.carrier import Feed
    from geventwsgi.events.topic import Sender

#: Seconds of silence after which Redis is asked whether it is still there.
SILENCE = 5.0
#: Redis keeps this many times the messages that a channel keeps: a worker that computes for a while is behind.
RETAINED = 10
#: Seconds after which Redis forgets a channel in which nothing is published.
EXPIRY = 86400
#: Seconds that a channel waits for Redis when it begins, and between two tries later; those that a call takes at most.
CATCH_UP, RETRY, TIMEOUT = 5.0, 1.0, 5.0
#: Channels that are read at once; messages, and their characters, that are sent at once.
READ, SENT, SENT_SIZE = 100, 250, 1 << 20

#: Appends a message with its number, in one step, so that the numbers of what is in the stream have no gap, and sends
#: it to those who have joined. A stream that begins gets a name of its own, since its ids may be lower than those that
#: workers have read. KEYS: the stream, what is known of it; ARGV: most entries, text, name, seconds.
APPEND = """
local world = redis.call('HGET', KEYS[2], 'w')
if not world or not redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] then
    world = ARGV[3]
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'w', world)
end
local number = string.format('%.0f', (tonumber(redis.call('HGET', KEYS[2], 'n')) or 0) + 1)
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'w', world, 'n', number, 't', ARGV[2])
redis.call('HSET', KEYS[2], 'n', number)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. world .. ' ' .. number .. ' ' .. ARGV[2])
"""
_DIGEST = sha1(APPEND.encode()).hexdigest()  # noqa: S324 - the name that Redis gives the script


class Publication:
    """A message on its way to Redis."""

    __slots__ = ("args", "error", "sent", "size")

    def __init__(self, channel: Sender, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self.size = len(data)
        self.args = (2, *keys(channel.name), RETAINED * channel.keep, data, os.urandom(8).hex(), EXPIRY)
        self.sent = Event()
        self.error: Exception | None = None

    def settle(self, answer: Any) -> None:
        """Take the answer of Redis, or the failure of the connection."""
        self.error = answer if isinstance(answer, Exception) else None
        self.sent.set()


class RedisCarrier:
    """Carries the channels of this process that are in one Redis.

    :param url: of the server, as ``redis.Redis.from_url`` takes it.
    :raises RuntimeError: the package is missing, or the standard library is not patched.
    :raises ValueError: the URL is none.
    """

    counted = False
    #: Each message names its world.
    world = ""
    #: It is not known in this process.
    last = None

    def __init__(self, url: str) -> None:
        try:
            import redis  # an extra
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise RuntimeError(
                "a channel through Redis needs the redis package: pip install geventwsgi[redis]"
            ) from None
        if not monkey.is_module_patched("socket"):
            raise RuntimeError("waiting for Redis would block every greenlet: call gevent.monkey.patch_all() first")
        # No retries: a message whose answer is missing may have arrived, and to send it again would double it.
        options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_connect_timeout": TIMEOUT}
        self._client: Any = redis.Redis.from_url(url, socket_timeout=TIMEOUT, **options)
        self._missing_script: Any = redis.exceptions.NoScriptError
        #: Held by whoever uses the connection for commands: the pool never opens a second one.
        self._commanding = RLock()
        self.topics = Topics(self)
        self._streams: dict[bytes, Stream] = {}
        #: Those to be read: they begin, or have missed something.
        self._behind: dict[bytes, None] = {}
        #: The connection on which messages come, while there is one.
        self._live: Any = None
        self._reading = self._sending = False
        #: Messages, and channels to begin (True) or to end, that wait to be sent.
        self._publications: list[Publication] = []
        self._changes: dict[bytes, bool] = {}
        #: The failures that were logged and still last; whether channels have waited for Redis without success.
        self._told: set[object] = set()
        self._absent = False

    def join(self, channel: Feed) -> Event:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        stream = Stream(channel.name)
        self._streams[stream.key] = stream
        self._changes[stream.key] = True
        if self._absent:
            stream.begun.set()
        if not self._reading:
            self._reading = True
            spawn_raw(self._read)
        self._flush()
        return stream.begun

    def leave(self, channels: dict[str, int]) -> None:
        """See :class:`~geventwsgi.events.carrier.Carrier`."""
        for name in channels:
            key, _ = keys(name)
            stream = self._streams.pop(key, None)
            if stream is not None:
                stream.begun.set()
            self._behind.pop(key, None)
            self._changes[key] = False
        self._flush()

    def publish(self, channel: Sender, text: str) -> None:
        """Append ``text`` to the stream; it comes back to this process too. In gevent's hub, do not wait for that.

        :raises ConnectionError: Redis cannot be reached, or says that it does not take it.
        """
        publication = Publication(channel, text)
        self._publications.append(publication)
        self._flush()
        if getcurrent() is get_hub():
            return
        publication.sent.wait()
        if publication.error is not None:
            error = publication.error
            raise ConnectionError(f"the channel {channel.name!r} does not reach Redis: {error}") from error

    # Sending

    def _flush(self) -> None:
        if not self._sending:
            self._sending = True
            spawn_raw(self._send)

    def _send(self) -> None:
        """Send what waits to be sent; a greenlet's body."""
        while self._publications or (self._changes and self._live is not None):
            self._send_changes()
            self._send_publications()
        self._sending = False

    def _send_changes(self) -> None:
        connection = self._live
        if connection is None:
            return
        changes, self._changes = self._changes, {}
        try:
            for command, wanted in (("SUBSCRIBE", True), ("UNSUBSCRIBE", False)):
                names = [key for key, begins in changes.items() if begins is wanted]
                if names:
                    connection.send_command(command, *names, check_health=False)
        except Exception:  # noqa: BLE001 - the reader sees that the connection is broken, and makes a new one
            connection.disconnect()

    def _send_publications(self) -> None:
        size = count = 0
        while count < min(SENT, len(self._publications)) and (not count or size < SENT_SIZE):
            size += self._publications[count].size
            count += 1
        publications = self._publications[:count]
        del self._publications[:count]
        if not publications:
            return
        try:
            answers = self._execute([("EVALSHA", _DIGEST, *each.args) for each in publications])
            # A script that Redis does not know has not run.
            unknown = [at for at, answer in enumerate(answers) if isinstance(answer, self._missing_script)]
            if unknown:
                again = self._execute([("EVAL", APPEND, *publications[at].args) for at in unknown])
                for at, answer in zip(unknown, again, strict=True):
                    answers[at] = answer
        except Exception as error:  # noqa: BLE001 - whatever it is, each publisher gets it
            answers = [error] * len(publications)
        for publication, answer in zip(publications, answers, strict=True):
            publication.settle(answer)

    def _execute(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return the answers to commands, errors among them.

        :raises Exception: anything that the client may say when it has lost Redis.
        """
        with self._commanding:
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            return answers

    # Reading

    def _read(self) -> None:
        """Take messages while there are channels, whatever happens; a greenlet's body."""
        while self._streams:
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 - it is told, and tried again
                self._tell("lost", "Channels have lost Redis, and try again: %s", error)
                self._let_wait_no_longer()
                gevent.sleep(RETRY)
        self._reading = False

    def _tell(self, what: object, text: str, *args: object) -> None:
        if what not in self._told:
            self._told.add(what)
            HERE.complain(text, *args)

    def _let_wait_no_longer(self) -> None:
        """Let channels begin that have waited for long."""
        for stream in self._streams.values():
            if not stream.begun.is_set() and monotonic() - stream.asked_at >= CATCH_UP:
                stream.begun.set()
                if not self._absent:
                    self._absent = True
                    HERE.complain("The channel %r does not reach Redis yet; it keeps trying", stream.name)

    def _follow(self) -> None:
        """Connect, and take messages.

        :raises Exception: anything that Redis or its client may say.
        """
        connection = self._client.connection_pool.make_connection()
        try:
            connection.connect()
            self._live = connection
            self._behind.clear()
            self._changes = dict.fromkeys(self._streams, True)
            self._flush()
            asked = False
            while self._streams:
                if self._behind and (len(self._behind) >= READ or not connection.can_read(timeout=0)):
                    self._catch_up()
                elif connection.can_read(timeout=SILENCE):
                    self._hear(connection.read_response(disconnect_on_error=False, push_request=True))
                    asked = False
                elif asked:
                    raise ConnectionError("it does not answer")
                else:
                    asked = True
                    connection.send_command("PING", check_health=False)
        finally:
            self._live = None
            connection.disconnect()

    def _hear(self, answer: Any) -> None:
        """Take what has come: a message, or the confirmation that the messages of a channel come from now on."""
        kind, key = (bytes(answer[0]), answer[1]) if isinstance(answer, list) and len(answer) > 1 else (b"", b"")
        stream = self._streams.get(key)
        channel = stream and self.topics.get(stream.name)
        if not stream or not channel or key in self._behind:
            return
        if kind == b"subscribe":
            self._behind[key] = None
        elif kind == b"message":
            try:
                if not stream.hear(channel, answer[2]):
                    self._behind[key] = None
            except (ValueError, TypeError):
                self._tell_of_foreign(stream.name, answer[2])

    def _tell_of_foreign(self, name: str, what: object) -> None:
        self._tell("foreign", "The channel %r passes over what is not its own in its stream: %.80r", name, what)

    def _catch_up(self) -> None:
        """Read the streams that are behind, some at once."""
        behind = [(stream, channel) for stream, channel in map(self._found, islice(self._behind, READ)) if channel]
        if not behind:
            self._behind.clear()
            return
        answers = self._execute([query for stream, channel in behind for query in stream.queries(channel.keep)])
        failure = None
        for at, (stream, channel) in enumerate(behind):
            failed = next((answer for answer in answers[2 * at : 2 * at + 2] if isinstance(answer, Exception)), None)
            if failed is not None:
                failure = failed
                self._tell(stream.name, "The channel %r has lost Redis, and tries again: %s", stream.name, failed)
                continue
            self._read_on(stream, channel, answers[2 * at], answers[2 * at + 1])
        if failure is not None:
            self._let_wait_no_longer()
            gevent.sleep(RETRY)
        else:
            self._absent = False
            self._told.discard("lost")

    def _found(self, key: bytes) -> tuple[Stream, Feed | None]:
        stream = self._streams[key]
        return stream, self.topics.get(stream.name)

    def _read_on(self, stream: Stream, channel: Feed, first: Any, second: Any) -> None:
        done, foreign = stream.read(channel, first, second)
        self._told.discard(stream.name)
        if foreign is not None:
            self._tell_of_foreign(stream.name, foreign)
        if done:
            self._behind.pop(stream.key, None)
            stream.begun.set()


class _Own:
    """The carriers of this process, by URL. A forked process makes its own."""

    def __init__(self) -> None:
        self.carriers: dict[str, RedisCarrier] = {}

    def forsake(self) -> None:
        """Leave them to the parent."""
        for carrier in self.carriers.values():
            carrier.topics.forsake()
        self.carriers.clear()


_own = _Own()
os.register_at_fork(after_in_child=_own.forsake)


def redis_carrier(url: str) -> RedisCarrier:
    """Return this process's carrier through a Redis (see :class:`RedisCarrier`)."""
    carrier = _own.carriers.get(url)
    if carrier is None:
        carrier = _own.carriers[url] = RedisCarrier(url)
    return carrier
