"""All that looks at one worker while it serves, as the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geventwsgi.mesh.place import HERE
from geventwsgi.worker.watching.counting import Counting
from geventwsgi.worker.watching.in_flight import InFlight
from geventwsgi.worker.watching.stalls import Stalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from geventwsgi.config.sources import Config
    from geventwsgi.observe.log import Logger
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.capacity import Capacity
    from geventwsgi.serving.server import WSGIServer
    from geventwsgi.system.shared import Slot
    from geventwsgi.worker.watching.questions import Questions

    #: Has the loop call a function every so many seconds.
    Every = Callable[[float, Callable[[], object]], object]


class Watches:
    """The watches of one worker.

    :param slot: the worker's fields in the shared memory; None without a master.
    :param servers: returns its servers.
    """

    def __init__(
        self, cfg: Config, log: Logger, slot: Slot | None, servers: Callable[[], Sequence[WSGIServer]]
    ) -> None:
        self._cfg = cfg
        self._log = log
        self._slot = slot
        self.in_flight = InFlight(servers)
        self._counting: Counting | None = None
        self._stalls: Stalls | None = None
        self._questions: Questions | None = None

    def count(self, tally: Tally, slot: Slot, capacity: Capacity) -> None:
        """Have the worker's numbers counted once it serves."""
        self._counting = Counting(tally, slot, capacity, self.in_flight.connections)

    def begin(self, every: Every, has_no_socket: Callable[[OSError, str], object]) -> None:
        """Begin, when the worker is about to serve.

        :param has_no_socket: logs why a socket cannot be made, and what follows.
        """
        self._watch_stalls()
        self._watch_requests(every)
        self._answer_questions(has_no_socket)
        if self._counting is not None:
            self._counting.begin(every)

    def probe(self, frame: FrameType | None) -> None:
        """Note where the loop stands, and answer the observer. Called in a signal handler."""
        if self._stalls is not None:
            self._stalls.sample(frame)
        if self._questions is not None:
            self._questions.answer_now(frame)

    def end_counts(self) -> None:
        """Count what has come since the last look; called when the servers have drained."""
        if self._counting is not None:
            self._counting.end()

    def close(self) -> None:
        """Answer the observer no more."""
        if self._questions is not None:
            self._questions.close()

    def _watch_stalls(self) -> None:
        if self._slot is None or not self._cfg.stall_threshold:
            return
        from gevent import get_hub

        stalls = Stalls(self._slot, self._cfg.stall_threshold, self._log.warning, self.in_flight.served_by)
        loop: Any = get_hub().loop
        try:
            stalls.watch(loop)
        except TypeError:
            self._log.warning(
                "stall_threshold has no effect with gevent's loop of libuv: unset GEVENT_LOOP for libev's"
            )
        else:
            self._stalls = stalls

    def _watch_requests(self, every: Every) -> None:
        if not self._cfg.slow_request_threshold:
            return
        from geventwsgi.worker.watching.slow_requests import SlowRequests

        slow = SlowRequests(self._cfg.slow_request_threshold, self._log.warning, self.in_flight.connections)
        every(slow.interval, slow.look)

    def _answer_questions(self, has_no_socket: Callable[[OSError, str], object]) -> None:
        if HERE.directory is None or not self._cfg.is_observed:
            return
        from geventwsgi.worker.watching.questions import Questions

        questions = Questions(HERE.directory, self.in_flight, self._log.warning)
        try:
            questions.listen()
        except OSError as error:
            has_no_socket(error, "cannot be asked by the observer")
        else:
            self._questions = questions
