"""Asks the workers what they do. One whose loop is blocked is interrupted by a signal, and answers in its handler."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket

from geventwsgi.worker import lastwords
from geventwsgi.worker.watching.questions import PREFIX

if TYPE_CHECKING:
    from geventwsgi.observer.view import View
    from geventwsgi.system.shared import Slot

#: Seconds for a worker's answer, and for the answer of a worker that was interrupted.
PATIENCE, AFTER_SIGNAL = 0.5, 1.0
#: Bytes received at once.
RECV = 1 << 16

Answer = dict[str, Any]


def ask_all(view: View, question: dict[str, Any], pid: int | None = None) -> dict[int, Answer | None]:
    """Return the answer of each worker that serves, by its process id; None for one that does not answer.

    An answer with ``blocked_at`` is one of a worker whose loop was blocked, and ``blocked_for`` is added to it: the
    seconds, None if nobody knows them.

    :param pid: of the only worker to ask.
    """
    slots = [slot for slot in view.slots.taken() if pid in (None, slot.pid) and slot.stage != "booting"]
    asking = [gevent.spawn(_ask, view.meeting_place, slot, question) for slot in slots]
    gevent.joinall(asking)
    return {slot.pid: one.value for slot, one in zip(slots, asking, strict=True)}


def _ask(directory: str, slot: Slot, question: dict[str, Any]) -> Answer | None:
    path = f"{directory}/{PREFIX}{slot.pid}"
    data = json.dumps(question).encode() + b"\n"
    with suppress(OSError, ValueError):
        try:
            answer = _answer(path, data, PATIENCE)
        except TimeoutError:
            answer = _interrupt(path, data, slot)
        if "blocked_at" in answer:  # also without a signal of ours: the handler answers all that waits
            since = slot.busy_since
            answer["blocked_for"] = round((time.monotonic_ns() - since) / 1e9, 3) if since else None
        return answer
    return None


def _interrupt(path: str, data: bytes, slot: Slot) -> Answer:
    """Return the answer of a worker that is interrupted once the question waits for it."""

    def send_signal() -> None:
        if lastwords.PROBE is not None:
            os.kill(slot.pid, lastwords.PROBE)

    return _answer(path, data, AFTER_SIGNAL, send_signal)


def _answer(path: str, data: bytes, seconds: float, then: Any = lambda: None) -> Answer:
    """Return an answer.

    :param then: called when the question has been sent.
    :raises TimeoutError: it has not come in time.
    :raises OSError: nobody listens there.
    :raises ValueError: what came is no answer.
    """
    with gevent.Timeout(seconds, TimeoutError), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(data)
        then()
        received = bytearray()
        while piece := sock.recv(RECV):
            received += piece
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise ValueError("an answer is an object")  # noqa: TRY004 - as if it were no JSON
    return answer
