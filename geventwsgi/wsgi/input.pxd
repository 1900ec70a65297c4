from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cimport cython

cdef Py_ssize_t BLOCK_SIZE, DIRECT_SIZE, FETCH_LIMIT, NO_LIMIT

cdef class Input:
    cdef CExchange _exchange
    cdef object _block
    cdef Py_ssize_t _position
    cdef Py_ssize_t _taken
    cdef public object failure

    @cython.locals(wanted=Py_ssize_t, direct=bint)
    cpdef read(self, size=*)
    @cython.locals(start=Py_ssize_t)
    cpdef bytes _take(self, Py_ssize_t size)
    cpdef bytes _take_line(self, Py_ssize_t size)
    cpdef _next(self, Py_ssize_t size)
    cpdef bint _fill(self) except? -1
    cpdef _fetch(self, Py_ssize_t size)

cpdef Py_ssize_t _limit(size) except? -1
