from geventwsgi.flag cimport flag
from geventwsgi.wsgi.exchange cimport Exchange as CExchange, ResponseHead as CResponseHead

cimport cython

cdef class LastHead:
    cdef public CResponseHead head
    cdef object _log
    cdef set _left_out

    cpdef CResponseHead head_of(self, CExchange exchange, status, headers)
    cpdef check(self, status, headers)
    @cython.locals(head=CResponseHead, known=tuple, fields=list, index=Py_ssize_t)
    cdef bint repeated(self, status, headers) except -1

cdef class Response:
    cdef CExchange _exchange
    cdef LastHead _last
    cdef CResponseHead _head
    cdef public object failure
    cdef flag _staged
    cdef public flag ended

    @cython.locals(piece=bytes)
    cpdef write(self, data)
    @cython.locals(piece=bytes)
    cpdef write_last(self, data, bint at_once=*)
    cpdef write_file(self, int fileno, long long offset, long long count)
    cpdef finish(self)
    cpdef _stage(self, length)

@cython.locals(pair=tuple)
cdef bint _is_field(field, tuple last) except -1
cpdef tuple _checked(status, headers)
