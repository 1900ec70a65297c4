from geventwsgi.http.head cimport RequestHead as CRequestHead

from geventwsgi.serving.connection cimport Connection as CConnection

cdef class EarlyHints:
    cdef object _connection

cdef class Trailers:
    cdef object _connection

cpdef extend(dict environ, CConnection connection, CRequestHead head)
