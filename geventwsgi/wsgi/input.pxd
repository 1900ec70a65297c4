from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cdef class Input:
    cdef CExchange _exchange
    cdef object _block
    cdef Py_ssize_t _position
    cdef public object failure

    cpdef bytes _take(self, Py_ssize_t size)
    cpdef bytes _take_line(self, Py_ssize_t size)
    cpdef _next(self, Py_ssize_t size)
    cpdef bint _fill(self) except? -1
    cpdef _fetch(self, Py_ssize_t size)
