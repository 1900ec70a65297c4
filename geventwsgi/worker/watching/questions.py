"""Answers the observer's questions, which reach this worker by a socket in the private directory of the workers.

A question is one line of JSON, and so is its answer; then the connection ends. While the loop is blocked, the observer
sends the signal that asks for stacks. The signal's handler then answers the questions that wait in the socket. It waits
for the observer only, for a short time.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geventwsgi.forks import displace, keep
from geventwsgi.worker import stacks
from geventwsgi.worker.watching.in_flight import MOST, ONE_TURN, ROWS, InFlight, mark_running, slices

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

#: The name of a worker's socket begins with this; its process id follows.
PREFIX = "ask."
#: The largest question, in bytes; the seconds that a question may take to arrive, and its answer to be sent.
LONGEST, PATIENCE = 4096, 5.0
#: The same number of seconds while the loop is blocked: it stays blocked as long as the handler waits.
BRIEF = 0.2
#: The number of questions that may wait to be accepted.
BACKLOG = 16

Question = dict[str, Any]


class Questions:
    """The answers of one worker.

    :param directory: of the workers' sockets.
    :param warn: logs a ``%``-style text.
    """

    def __init__(self, directory: str, in_flight: InFlight, warn: Callable[..., object]) -> None:
        self._directory = Path(directory)
        self._in_flight = in_flight
        self._warn = warn
        self._listener: Any = None
        self._accepting: Any = None

    def listen(self) -> None:
        """Begin to answer.

        :raises OSError: no socket can be made.
        """
        from gevent import socket, spawn

        from geventwsgi.mesh import own_socket

        self._listener = socket.socket(socket.AF_UNIX)
        own_socket.listen(self._listener, self._directory, f"{PREFIX}{os.getpid()}", BACKLOG)
        keep(self)
        self._accepting = spawn(self._accept)

    def close(self) -> None:
        """Answer nothing more."""
        self._accepting.kill()
        self._listener.close()

    def let_go(self) -> None:
        """See :class:`~geventwsgi.forks.Possession`."""
        displace(self._listener.fileno())

    def _accept(self) -> None:
        """Take connections; a greenlet's body."""
        from gevent import sleep, spawn_raw

        while True:
            with suppress(OSError):  # no descriptor is left
                spawn_raw(self._converse, self._listener.accept()[0])
                continue
            sleep(1)

    def _converse(self, sock: Any) -> None:
        from gevent import sleep

        with sock, suppress(OSError, ValueError):
            sock.settimeout(PATIENCE)
            question = _received(sock)
            breathe = partial(sleep, ONE_TURN)
            sock.sendall(_encoded(self._answer(question, breathe), breathe))

    def answer_now(self, frame: FrameType | None) -> None:
        """Answer the questions that wait, while the loop is blocked. To be called by a signal's handler.

        :param frame: the frame of the code that the signal has interrupted.
        """
        from _socket import socket

        from greenlet import getcurrent

        if self._listener is None:
            return
        running = getcurrent()
        while True:
            try:
                fd, _ = self._listener._sock._accept()  # noqa: SLF001 - gevent's own waits for the loop
            except OSError:
                return
            sock = socket(fileno=fd)
            with suppress(OSError, ValueError):
                sock.settimeout(BRIEF)
                answer = self._answer(_received(sock), lambda: None, frame)
                if "rows" in answer:
                    mark_running(answer["rows"], self._in_flight.identity_of(running), frame)
                sock.sendall(_encoded({**answer, "blocked_at": stacks.place(frame)}))
            sock.close()

    def _answer(
        self, question: Question, breathe: Callable[[], object], blocking: FrameType | None = None
    ) -> dict[str, Any]:
        """Return the answer to a question.

        :param blocking: the frame that keeps the loop from turning, if one does; this greenlet runs it.
        :raises ValueError: it cannot be understood.
        """
        from greenlet import getcurrent

        asked, identity = question.get("ask"), str(question.get("id"))
        if asked == "requests":
            limit = min(max(1, int(question.get("limit", MOST))), MOST)
            after = float(question.get("after") or 0)
            return {"rows": self._in_flight.page(limit, after, breathe=breathe)}
        if asked == "stack":
            blocks = blocking is not None and identity == self._in_flight.identity_of(getcurrent())
            return {"stack": stacks.application_stack(blocking) if blocks else self._in_flight.stack(identity)}
        if asked == "stacks":
            told = stacks.describe(blocking, self._in_flight.all())[blocking is None :]
            return {"stacks": [{"who": who, "stack": stack} for who, stack in told]}
        if asked == "end":
            return {"ended": self._end(identity)}
        raise ValueError(f"nobody asks {asked!r}")

    def _end(self, identity: str) -> bool:
        from gevent import get_hub

        found = self._in_flight.has(identity)
        if found:
            get_hub().loop.run_callback(self._in_flight.end, identity, self._warn)
        return found


def _received(sock: Any) -> Question:
    data = b""
    while not data.endswith(b"\n") and len(data) < LONGEST:
        piece = sock.recv(LONGEST)
        if not piece:
            break
        data += piece
    question = json.loads(data)
    if not isinstance(question, dict):
        raise ValueError("a question is an object")  # noqa: TRY004 - as if it were no JSON
    return question


def _encoded(answer: dict[str, Any], breathe: Callable[[], object] = lambda: None) -> bytes:
    """Return an answer as one line of JSON; rows are encoded a limited number at a time."""
    if "rows" not in answer:
        return json.dumps(answer).encode() + b"\n"
    rows = ",".join(json.dumps(row) for some in slices(answer["rows"], ROWS, breathe) for row in some)
    others = json.dumps({name: value for name, value in answer.items() if name != "rows"})
    return f'{{"rows": [{rows}]{others[1:-1] and ", "}{others[1:]}\n'.encode()
