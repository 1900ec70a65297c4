from geventwsgi.serving cimport _references as marks
from geventwsgi.serving.connection cimport Connection as CConnection
from geventwsgi.serving.http1_exchange cimport Http1Exchange

cdef class Lane:
    cdef public CConnection connection
    cdef public Http1Exchange exchange
    cdef object _client
    cdef object _deadline
    cdef object _hints
    cdef object _trailers
    cdef Py_ssize_t _known
    cdef bint _departed
    cdef object _audience

    cpdef begin(self, CConnection connection, Http1Exchange exchange)
    cpdef lend(self, dict environ)
    cdef bint held(self) noexcept
    cdef Py_ssize_t _references(self) noexcept
    cpdef end(self)
