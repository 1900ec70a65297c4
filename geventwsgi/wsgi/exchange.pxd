# The compiled form of exchange.py: what its attributes are in C, and which methods are called as C functions.

from geventwsgi.flag cimport flag
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.wsgi cimport held
from geventwsgi.wsgi.repeated cimport Repeated as CRepeated

cdef class ResponseHead:
    cdef public object status
    cdef public object headers
    cdef public object length
    cdef public int code
    cdef public flag closes

cdef class Exchange(held.Line):
    cdef public CRequestHead head
    cdef public str remote_addr
    cdef public str scheme
    cdef public CRepeated repeated
    cdef public list trailers
    cdef public object request
    cdef public object identity
    cdef public object offered
    cdef public long long sent
    cdef public double began
    cdef public int remote_port
    cdef public int status
    cdef public flag has_body
    cdef public flag trusted
    cdef public flag head_sent
    cdef public flag taken
    cdef public flag over

    cpdef read(self, Py_ssize_t size)
    cpdef spend(self, Py_ssize_t pieces)
    cpdef start(self, ResponseHead head, length)
    cpdef write(self, bytes data, bint last=*)
    cpdef send_file(self, int fileno, long long offset, long long count)
    cpdef close_after(self)
    cpdef finish(self)
    cpdef bint can_hold(self) except -1
    cpdef bint can_recall(self) except -1
    cpdef hold(self, call)
    cpdef fail(self, int status, detail=*, headers=*)
    cpdef abort(self)
    cpdef thrown(self)
    cpdef extend(self, dict environ)
    cpdef raw_socket(self)
