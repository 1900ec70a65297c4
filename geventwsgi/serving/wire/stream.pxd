from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.serving.wire cimport sending
from geventwsgi.serving.loop.runners cimport Sleeper as CSleeper

cimport cython

cdef int RECEIVE, PIPELINED, WORTH_FILLING
cdef unsigned int _READABLE, _WRITABLE, _GONE, _LOST

cdef class Stream(sending.Sending):
    cdef public double waited
    cdef public double parked_until
    cdef public bytes _ahead
    cdef object _reader
    cdef CSleeper _sleeper
    cdef public object guard
    cdef public flag hot
    cdef flag _expired
    cdef public flag _interrupted
    cdef public flag gone
    cdef public flag lost

    cpdef watch(self)
    cpdef bint in_use(self)
    cpdef interrupt(self)
    cpdef bint dismiss(self) except -1
    cpdef close(self)
    cpdef finish(self)
    cpdef bint finished(self, bint more_comes=*, bint last=*)
    cpdef bint throw_away(self) except -1
    cpdef _let_go(self)
    cpdef tuple detach(self)
    cpdef bytes recv(self, Py_ssize_t size, timeout=*)
    cpdef recv_now(self, Py_ssize_t size)
    cpdef bytes _take(self, Py_ssize_t size)
    cpdef bytes _fill_up(self, Py_ssize_t size)
    cpdef _try_receive(self, Py_ssize_t size)
    cpdef bytes _receive(self, Py_ssize_t size, timeout)
    cpdef bint ahead(self)
    cpdef spend(self, long long receives)
    cpdef unread(self, bytes data)
    cpdef rouse(self)
    cpdef bint wait(self, timeout) except -1
    cpdef park(self, CSleeper sleeper, double timeout)
    cpdef _wake(self, bint timed_out)
    @cython.locals(in_flight=bint)
    cpdef _wait_readable(self, timeout)
