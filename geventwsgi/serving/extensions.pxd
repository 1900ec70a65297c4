from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.connection cimport Connection as CConnection
from geventwsgi.serving.http1_exchange cimport Http1Exchange as CHttp1Exchange
from geventwsgi.serving.lane cimport Lane

cimport cython

cdef class EarlyHints:
    cdef object _lane

cdef class Trailers:
    cdef object _lane

@cython.locals(head=CRequestHead, lane=Lane)
cpdef extend(dict environ, CConnection connection, CHttp1Exchange exchange)
