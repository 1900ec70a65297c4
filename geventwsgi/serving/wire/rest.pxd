from geventwsgi.serving.wire._native cimport Socket as CSocket

cimport cython

cdef class Rest:
    cpdef bint send(self, CSocket sock) except -1

cdef class FileRange(Rest):
    cdef long long _offset
    cdef long long _count
    cdef readonly int fileno
    cdef int _own

    cpdef keep(self)
    @cython.locals(own=int)
    cpdef let_go(self)
    @cython.locals(step=Py_ssize_t, sent=Py_ssize_t)
    cpdef bint send(self, CSocket sock) except -1

cdef class Offer(Rest):
    cdef object _offerer
    cdef object _taker
    cdef public bytes _data
    cdef public Py_ssize_t _at
