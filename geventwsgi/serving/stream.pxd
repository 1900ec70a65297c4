from geventwsgi cimport _clock as clock
from geventwsgi.serving._native cimport Socket as CSocket
from geventwsgi.serving.poller cimport Poller as CPoller
from geventwsgi.serving.capacity cimport Capacity as CCapacity
from geventwsgi.serving cimport deadlines
from geventwsgi.serving.runners cimport Sleeper as CSleeper

cimport cython

cdef int TURN, RECEIVE, PIPELINED
cdef unsigned int _READABLE, _WRITABLE, _GONE, _LOST

cdef class Stall(deadlines.Holder):
    cdef object _stream

cdef class Stream(deadlines.Holder):
    cdef public CSocket _sock
    cdef public double _write_timeout
    cdef public CCapacity capacity
    cdef public bint in_flight
    cdef public double waited
    cdef public double parked_until
    cdef int _turn
    cdef public object _hub
    cdef deadlines.Deadlines _deadlines
    cdef public bytes _ahead
    cdef public bint hot
    cdef public bint closed
    cdef object _reader
    cdef CSleeper _sleeper
    cdef bint _expired
    cdef public bint _interrupted
    cdef public bint gone
    cdef public bint lost
    cdef public bint left
    cdef public object guard
    cdef object _writer
    cdef public Stall _stall
    cdef CPoller _poller
    cdef public bint watched

    cpdef watch(self)
    cpdef bytes recv(self, Py_ssize_t size, timeout=*)
    cpdef recv_now(self, Py_ssize_t size)
    cpdef bytes _take(self, Py_ssize_t size)
    cpdef _try_receive(self, Py_ssize_t size)
    cpdef bytes _receive(self, Py_ssize_t size, timeout)
    cpdef bint ahead(self)
    cpdef spend(self, int receives)
    cpdef unread(self, bytes data)
    cpdef step_in(self, timeout=*)
    cpdef step_out(self)
    cpdef happened(self, unsigned int events)
    cpdef park(self, CSleeper sleeper, double timeout)
    cpdef _wake(self, bint timed_out)
    cpdef send(self, data, bint more=*)
    @cython.locals(sent=Py_ssize_t)
    cpdef send_parts(self, first, second, third=*, fourth=*)
    @cython.locals(began=double, in_flight=bint)
    cpdef _wait_readable(self, timeout)
    cpdef _send_all(self, data)
    cpdef bint _step_back(self)
    cpdef _yield_turn(self)
