from geventwsgi cimport _clock as clock
from geventwsgi.serving.loop.turns cimport Turns as CTurns
from geventwsgi.serving.wire.stream cimport Stream as CStream

cimport cython

cdef class ClientSocket:
    cdef dict __dict__
    cdef object __weakref__
    cdef readonly CTurns receiving
    cdef readonly CTurns sending
    cdef readonly long long received
    cdef long long _owed
    cdef readonly bint concluded
    cdef readonly CStream _stream
    cdef object _descriptor
    cdef object _take_over
    cdef object _lost
    cdef object _deadlines
    cdef object _pings
    cdef bytes _ping
    cdef bint _websocket
    cdef object _timeout
    cdef double _since
    cdef double _latest
    cdef bint _spoken
    cdef bint _draining
    cdef bint _silenced
    cdef readonly object _farewell
    cdef bint _taken
    cdef bint _closed
    cdef bint _deaf
    cdef bint _over
    cdef object _reason

    cpdef recv(self, size, flags=*)
    @cython.locals(latest=double, told=bint)
    cdef _receive(self, Py_ssize_t size, until)
    cdef bint _at_end(self) except -1
    cpdef breathe(self)
    cpdef sendall(self, data, flags=*)
    cdef _send(self, bytes data)
    cdef bint _begin(self) except -1
    cdef bint _ended(self) except -1
