from geventwsgi cimport _clock as clock
from geventwsgi.fanout cimport Fanout as CFanout
from geventwsgi.flag cimport flag
from geventwsgi.serving.wire._native cimport Socket as CSocket
from geventwsgi.serving.loop cimport deadlines
from geventwsgi.serving.wire cimport endpoint
from geventwsgi.serving.wire.outbox cimport Outbox as COutbox
from geventwsgi.serving.loop.places cimport Places as CPlaces
from geventwsgi.serving.wire.poller cimport Poller as CPoller
from geventwsgi.serving.wire cimport rest as rests

cimport cython

cdef int TURN, KEPT
cdef unsigned int _WRITABLE

cdef class Common:
    cdef public CPoller poller
    cdef public deadlines.Deadlines deadlines
    cdef public object hub
    cdef public COutbox outbox
    cdef public CPlaces places
    cdef public CFanout rests
    cdef public double write_timeout
    cdef public double write_min_rate

cdef class Stall(deadlines.Holder):
    cdef object _sending
    cdef rests.Rest rest
    cdef double waited
    cdef int unread
    cdef flag counts

cdef class Sending(endpoint.Endpoint):
    cdef public CSocket _sock
    cdef public Common _common
    cdef public bytes kept
    cdef public bytes kept_too
    cdef long long _turn
    cdef public Stall _stall
    cdef object _writer
    cdef int _yielding
    cdef int _era
    cdef public flag closed
    cdef public flag in_flight
    cdef public flag left
    cdef flag _held
    cdef public flag gathers

    cpdef _work(self, int amount)
    cpdef take_turns(self)
    @cython.locals(era=int)
    cpdef yield_turn(self)
    @cython.locals(places=CPlaces)
    cpdef bint step_in_now(self) except -1
    @cython.locals(places=CPlaces)
    cpdef step_in(self, timeout=*)
    cpdef bint _step_back(self)
    @cython.locals(era=int)
    cpdef _step_forth(self)
    @cython.locals(places=CPlaces)
    cpdef step_out(self)
    @cython.locals(in_flight=bint)
    cpdef send(self, data, bint more=*)
    @cython.locals(sent=Py_ssize_t, in_flight=bint)
    cpdef send_parts(self, bytes first, bytes second, bytes third=*, bytes fourth=*, bint more=*)
    @cython.locals(outbox=COutbox, size=Py_ssize_t)
    cpdef send_last(self, bytes first, bytes second)
    @cython.locals(first=bytes, second=bytes, sent=Py_ssize_t)
    cpdef hand_over(self)
    @cython.locals(first=bytes, second=bytes)
    cpdef send_kept(self)
    cpdef rouse(self)
    cpdef gather(self, bint on)
    cpdef _let_leave(self)
    cpdef _send_all(self, data)
    @cython.locals(sent=Py_ssize_t)
    cpdef bint offer(self, bytes data, taker) except -1
    @cython.locals(file=rests.FileRange, sent=Py_ssize_t)
    cpdef send_file(self, int fileno, long long offset, long long count, bytes head=*, bint more=*)
    @cython.locals(in_flight=bint)
    cpdef _send_range(self, rests.FileRange file)
    @cython.locals(stall=Stall)
    cpdef _wait_writable(self, rests.FileRange file=*)
    cpdef forget_waits(self)
    @cython.locals(stall=Stall)
    cpdef Stall _await_room(self, writer, rests.Rest rest)
    @cython.locals(before=int, taken=int)
    cpdef stalled(self, Stall stall)
