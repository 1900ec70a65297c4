from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cdef class CheckedHead:
    cdef public object status
    cdef public int code
    cdef public list headers
    cdef public object length

cdef class LastHead:
    cdef public CheckedHead head

cdef class Response:
    cdef CExchange _exchange
    cdef LastHead _last
    cdef CheckedHead _head
    cdef bint _staged
    cdef public object failure
    cdef public bint ended

    cpdef write_last(self, data)
    cpdef write_file(self, int fileno, long long offset, long long count)
    cpdef finish(self)
    cpdef _stage(self, length)

cpdef CheckedHead _checked(status, headers)
