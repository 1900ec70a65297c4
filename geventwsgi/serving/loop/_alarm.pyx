# cython: cdivision=True
"""``gevent.sleep``, and so the ``time.sleep`` of a patched process, for less than half of what it costs there.

gevent makes a watcher and a waiter for each sleep, and libev calls back for each through Python. Here those who sleep
stand in one heap of numbers, and one timer of the loop is set for the first of them. The plain core leaves gevent's.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from geventwsgi._clock cimport monotonic
from geventwsgi.serving.loop._switching cimport current, switch, tell
from geventwsgi.serving.loop.rounds cimport Round

from gevent import get_hub
from gevent import sleep as gevent_sleep
from gevent.exceptions import InvalidSwitchError

from geventwsgi.forks import hold, keep
from geventwsgi.serving.loop.escaped import report

#: Children of each place of the heap: four neighbours share a line of the cache.
cdef enum: CHILDREN = 4
#: Seconds that the loop's timer is set for at most; it can do no sum with infinity.
cdef double LONGEST = 1e6
cdef double NEVER = float("inf")
cdef double NOW = -NEVER

cdef struct Place:
    double due      # on the monotonic clock
    PyObject *alarm # held


@cython.final
@cython.freelist(64)
@cython.no_gc
cdef class Alarm:
    """What wakes one greenlet, which it holds until then."""

    cdef object greenlet
    cdef Py_ssize_t place   # in the heap; -1: it has left


@cython.final
cdef class AlarmClock:
    """The greenlets of one hub that sleep.

    :param hub: the hub of this thread. Greenlets of other threads' hubs sleep as gevent has it.
    :param around: begins and ends each turn in which the clock wakes greenlets.
    """

    cdef object __weakref__
    cdef object _hub
    cdef Round _around
    cdef object _plain      # the kind of greenlet that slept last
    cdef Place *_heap
    cdef Py_ssize_t _count, _room
    cdef object _timer      # the loop's; None: not set
    cdef double _set_for    # when the loop calls back; NEVER, or NOW while it does

    def __cinit__(self, hub, Round around):
        self._hub = hub
        self._around = around
        self._set_for = NEVER
        keep(self)

    def __dealloc__(self):
        PyMem_Free(self._heap)  # empty: whoever sleeps holds the clock

    def sleep(self, seconds=0, ref=True):
        """Let other greenlets run for at least that long; see :func:`gevent.sleep`.

        :raises TypeError: ``seconds`` is no number.
        :raises ValueError: it is NaN, with which the loop would keep its timers in no order.
        :raises gevent.exceptions.InvalidSwitchError: somebody else switched to this greenlet.
        """
        if seconds != seconds:
            raise ValueError("Invalid value NaN (not a number)")
        if not seconds > 0 or not ref or get_hub() is not self._hub:
            return gevent_sleep(seconds, ref)
        me = current()
        if type(me) is not self._plain and not self._is_plain(type(me)):
            return gevent_sleep(seconds, ref)
        cdef Alarm alarm = Alarm.__new__(Alarm)
        alarm.greenlet, alarm.place = me, -1
        try:
            self._enter(alarm, monotonic() + <double> seconds)
            told = switch(self._hub)
        finally:
            if alarm.place >= 0:
                self._remove(alarm)
                if not self._count:
                    self._unset()
        if told is not alarm:
            raise InvalidSwitchError(f"a greenlet that sleeps was switched to by somebody else, with {told!r}")

    def let_go(self):
        """See :class:`~geventwsgi.forks.Possession`. The alarms stay held: of who sleeps nothing may run, not its end."""
        hold(self._timer)
        self._count = 0
        self._timer, self._set_for = None, NEVER

    cdef bint _is_plain(self, kind) except -1:
        """Return whether greenlets of a kind do not want to know that they are left, which gevent would tell them."""
        if hasattr(kind, "switch_out"):
            return False
        self._plain = kind
        return True

    def _ring(self):
        """Wake those whose time has come; called in the hub."""
        cdef Alarm alarm
        cdef double now = monotonic()
        self._unset()
        self._set_for = NOW
        self._around.begin()
        try:
            while self._count and self._heap[0].due <= now:
                alarm = <Alarm> self._heap[0].alarm
                self._remove(alarm)
                greenlet, alarm.greenlet = alarm.greenlet, None
                try:
                    tell(greenlet, alarm)
                except BaseException as error:  # the greenlet has ended by it
                    report(self._hub.loop, error)
        finally:
            self._set_for = NEVER
            self._set()
            self._around.end()

    cdef int _set(self) except -1:
        """Have the loop call back when the first is due."""
        if not self._count or self._heap[0].due >= self._set_for:
            return 0
        self._unset()
        cdef double due = self._heap[0].due
        timer = self._hub.loop.timer(min(max(0.0, due - monotonic()), LONGEST))
        timer.start(self._ring, update=True)
        self._timer, self._set_for = timer, due
        return 0

    cdef int _unset(self) except -1:
        self._set_for = NEVER
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        return 0

    cdef int _enter(self, Alarm alarm, double due) except -1:
        if self._count == self._room:
            self._grow()
        Py_INCREF(alarm)
        self._count += 1
        self._rise(self._count - 1, Place(due, <PyObject *> alarm))
        return self._set()

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = 2 * self._room or 64
        cdef Place *heap = <Place *> PyMem_Realloc(self._heap, room * sizeof(Place))
        if heap is NULL:
            raise MemoryError
        self._heap, self._room = heap, room
        return 0

    cdef int _remove(self, Alarm alarm) except -1:
        cdef Py_ssize_t empty = alarm.place
        cdef Place last
        self._count -= 1
        if empty < self._count:
            last = self._heap[self._count]
            if last.due < self._heap[empty].due:
                self._rise(empty, last)
            else:
                self._sink(empty, last)
        alarm.place = -1
        Py_DECREF(alarm)
        return 0

    cdef void _rise(self, Py_ssize_t empty, Place one) noexcept:
        """Put ``one`` into the empty place, or nearer to the first, behind all that are due before it."""
        cdef Py_ssize_t parent
        while empty:
            parent = (empty - 1) // CHILDREN
            if self._heap[parent].due <= one.due:
                break
            self._put(empty, self._heap[parent])
            empty = parent
        self._put(empty, one)

    cdef void _sink(self, Py_ssize_t empty, Place one) noexcept:
        """Put ``one`` into the empty place, or farther from the first, before all that are due after it."""
        cdef Py_ssize_t child, first, other
        while True:
            child = CHILDREN * empty + 1
            if child >= self._count:
                break
            first = child
            for other in range(child + 1, min(child + CHILDREN, self._count)):
                if self._heap[other].due < self._heap[first].due:
                    first = other
            if self._heap[first].due >= one.due:
                break
            self._put(empty, self._heap[first])
            empty = first
        self._put(empty, one)

    cdef void _put(self, Py_ssize_t place, Place one) noexcept:
        self._heap[place] = one
        (<Alarm> one.alarm).place = place
