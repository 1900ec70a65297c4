"""Thousands of clients that wait for messages, in one thread: streams, long-polls and WebSockets, all of them checked.

The channels are numbered, and so are the messages of each. Every client of a channel has to get all numbers from 0 on,
once and in order, on one connection. Whatever else happens to a client is noted in :attr:`Crowd.faults`.
"""

from __future__ import annotations

import heapq
import json
import re
import selectors
import socket
import time
from typing import TYPE_CHECKING, Any

from tests.support.websocket import PONG, TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Callable

#: Clients that connect at a time: no more than fit into the backlog.
CONNECTING = 256
#: Bytes received at once.
RECV = 1 << 18
#: The most faults that are kept in words.
MOST_FAULTS = 20
REQUEST = "GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_DATA = re.compile(rb"data: (\d+)\n")


class Client:
    """One client; a kind's subclass makes its request and understands what comes."""

    def __init__(self, crowd: Crowd, channel: int) -> None:
        self.crowd = crowd
        self.channel = channel
        #: The number of the next message.
        self.next = 0
        #: Whether it waits for messages.
        self.waits = False
        self.ended = False
        self.received = b""
        self.open(self.request().encode())

    def request(self) -> str:
        raise NotImplementedError

    def take(self) -> None:
        """Take what has been received."""
        raise NotImplementedError

    def open(self, data: bytes) -> None:
        """Connect, and then send a few bytes."""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(self.crowd.address)
        self.crowd.selector.register(self.sock, selectors.EVENT_WRITE, (self, data))

    def ready(self, data: bytes | None) -> None:
        """Act on an event of the socket.

        :param data: what is to be sent; None if something can be received.
        """
        selector = self.crowd.selector
        try:
            if data is not None:
                self.sock.sendall(data)
                selector.modify(self.sock, selectors.EVENT_READ, (self, None))
                return
            received = self.sock.recv(RECV)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(repr(error))
            return
        if not received:
            self.end("its connection was closed")
            return
        self.received += received
        self.take()

    def say(self, data: bytes) -> None:
        """Send a few bytes on a connection that waits."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.end(repr(error))

    def got(self, number: int) -> None:
        """Check the number of a message."""
        if number != self.next:
            self.crowd.note(self, f"got {number} instead of {self.next}")
        self.next = number + 1
        self.crowd.came(self.channel, number)

    def begin_to_wait(self) -> None:
        if not self.waits:
            self.waits = True
            self.crowd.waiting += 1

    def end(self, why: str) -> None:
        if not self.ended:
            self.ended = True
            self.crowd.note(self, why)
            self.crowd.selector.unregister(self.sock)
            self.sock.close()


class Stream(Client):
    """Has a stream of server-sent events."""

    def request(self) -> str:
        return REQUEST.format(f"/events?channel={self.channel}", "")

    def take(self) -> None:
        whole, end, rest = self.received.rpartition(b"\n\n")
        if not end:
            return
        self.received = rest
        if not self.waits:
            if not whole.startswith(b"HTTP/1.1 200 "):
                self.end(repr(whole[:80]))
            self.begin_to_wait()
        elif b"retry:" in whole or b"missed" in whole or b"\n0\r\n" in rest:
            self.crowd.note(self, f"got {whole[-80:]!r}")
        for number in _DATA.findall(whole + end):
            self.got(int(number))


class Poll(Client):
    """Has a long-poll after the other, on one connection."""

    after = ""

    def request(self) -> str:
        return REQUEST.format(f"/poll?channel={self.channel}&after={self.after}", "")

    def take(self) -> None:
        whole, end, rest = self.received.partition(b"\r\n0\r\n\r\n")
        if not end:
            return
        self.received = rest
        head, _, body = whole.partition(b"\r\n\r\n")
        if b"onnection: close" in head or not head.startswith(b"HTTP/1.1 200 "):
            self.crowd.note(self, repr(head[:200]))
        version, _, content = body[body.index(b"{") - 4 :].partition(b"{")
        answer = json.loads(b"{" + content[: content.rindex(b"}") + 1])
        self.crowd.versions[int(version.split()[-1])] += 1
        for number in answer["messages"]:
            self.got(number)
        self.after = answer["after"]
        self.say(self.request().encode())
        self.begin_to_wait()


class WebSocket(Client):
    """Has a WebSocket, and sends a message from time to time, which is answered by how many there were."""

    opened = False
    counted = 0

    def request(self) -> str:
        return REQUEST.format(f"/ws?channel={self.channel}", UPGRADE)

    def take(self) -> None:
        if not self.opened:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.opened, self.received = True, rest
            if not head.startswith(b"HTTP/1.1 101 "):
                self.end(repr(head[:80]))
        while len(self.received) > 1:
            opcode, size = self.received[0], self.received[1]
            if size >= 126 or len(self.received) < 2 + size:
                assert size < 126
                return
            payload, self.received = self.received[2 : 2 + size], self.received[2 + size :]
            self.take_frame(opcode, payload)

    def take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x89:
            self.say(frame(PONG, payload))
        elif opcode != 0x81:
            self.end(f"got a frame {opcode:x} {payload!r}")
        elif payload.startswith(b"counted "):
            _, count, version = payload.split()
            self.counted += 1
            if int(count) != self.counted:
                self.crowd.note(self, f"was counted {count} and not {self.counted} times")
            self.crowd.versions[int(version)] += 1
            self.crowd.later(self.crowd.pause, self.speak)
        elif not self.waits:
            self.begin_to_wait()
            self.crowd.later(self.crowd.pause * self.crowd.waiting / 1000 % self.crowd.pause, self.speak)
        elif payload.isdigit():
            self.got(int(payload))
        else:
            self.crowd.note(self, f"got {payload!r}")

    def speak(self) -> None:
        if not self.ended:
            self.say(frame(TEXT, b"x"))


class Publisher(Client):
    """Publishes on some of the channels, one message at a time; a channel is always the same publisher's."""

    def __init__(self, crowd: Crowd) -> None:
        self.queue: list[tuple[int, int]] = []
        super().__init__(crowd, 0)

    def request(self) -> str:
        return REQUEST.format("/", "")

    def publish(self, channel: int, number: int) -> None:
        self.queue.append((channel, number))
        if len(self.queue) == 1 and self.waits:
            self.tell()

    def tell(self) -> None:
        self.say(self.next_request())

    def next_request(self) -> bytes:
        channel, number = self.queue[0]
        self.crowd.published[channel].append(time.monotonic())
        return REQUEST.format(f"/publish?channel={channel}&number={number}", "").encode()

    def connect(self) -> None:
        """Go on by a connection of its own."""
        self.crowd.selector.unregister(self.sock)
        self.sock.close()
        self.open(b"" if not self.queue else self.next_request())

    def take(self) -> None:
        head, end, _ = self.received.partition(b"\r\n\r\n")
        if not end or (not self.received.endswith(b"\r\n0\r\n\r\n") and b"ontent-Length" not in head):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self.crowd.note(self, repr(head[:200]))
        self.received = b""
        if self.waits:
            del self.queue[0]
        self.begin_to_wait()
        if b"onnection: close" in head:  # its request was running when its worker began to end
            self.connect()
        elif self.queue:
            self.tell()


class Crowd:
    """The clients, and what is published for them.

    :param channels: how many there are.
    :param pause: seconds between two messages of one WebSocket client.
    """

    def __init__(self, address: tuple[str, int], channels: int, *, pause: float = 10.0, publishers: int = 4) -> None:
        self.address = address
        self.pause = pause
        self.selector = selectors.DefaultSelector()
        self.clients: list[Client] = []
        self.faults: list[str] = []
        self.faulty = 0
        self.waiting = 0
        #: By channel: when each message was published.
        self.published: list[list[float]] = [[] for _ in range(channels)]
        self.numbers = [0] * channels
        #: How many answers came from each version of the application.
        self.versions: dict[int, int] = _Counts()
        self.received = 0
        #: The latest message, in seconds from its publication.
        self.latest = 0.0
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._timer = 0
        self._turn = 0
        self.publishers = [Publisher(self) for _ in range(publishers)]
        self.clients += self.publishers

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()
        self.selector.close()

    def note(self, client: Client, what: str) -> None:
        self.faulty += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(f"{type(client).__name__} of channel {client.channel}: {what}")

    def came(self, channel: int, number: int) -> None:
        self.received += 1
        self.latest = max(self.latest, time.monotonic() - self.published[channel][number])

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function in some seconds."""
        self._timer += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._timer, function))

    def add(self, kind: type[Client], count: int) -> None:
        """Connect clients of a kind, evenly over the channels, and wait until they wait."""
        for number in range(count):
            self.clients.append(kind(self, number % len(self.numbers)))
            self.turn_until(lambda: len(self.clients) - self.waiting < CONNECTING)
        self.turn_until(lambda: self.waiting == len(self.clients))

    def publish_at(self, rate: float, until: Callable[[], bool]) -> None:
        """Publish so many messages a second, on a channel after the other, until something is the case."""
        stopped = []

        def publish() -> None:
            if stopped:
                return
            channel = self._turn % len(self.numbers)
            self._turn += 1
            self.publishers[channel % len(self.publishers)].publish(channel, self.numbers[channel])
            self.numbers[channel] += 1
            self.later(max(0.0, begun + self._turn_at(rate) - time.monotonic()), publish)

        begun, self._published_before = time.monotonic(), self._turn
        publish()
        self.turn_until(until, 600)
        stopped.append(True)

    def _turn_at(self, rate: float) -> float:
        return (self._turn - self._published_before) / rate

    def turn_until(self, condition: Callable[[], Any], timeout: float = 60) -> None:
        """Serve the clients until a condition is true."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"{self.waiting} of {len(self.clients)} wait: {self.faults}"
            self._serve()

    def _serve(self) -> None:
        for key, _ in self.selector.select(0.01):
            client, data = key.data
            client.ready(data)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def behind(self) -> list[Client]:
        """Return those who have not got all messages yet."""
        return [each for each in self.clients[len(self.publishers) :] if each.next < self.numbers[each.channel]]


class _Counts(dict[int, int]):
    def __missing__(self, key: int) -> int:
        return 0
