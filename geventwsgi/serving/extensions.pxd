from geventwsgi.http.head cimport RequestHead as CRequestHead

from geventwsgi.serving.connection cimport Connection as CConnection

cdef class Sender:
    cdef object _connection

cpdef extend(dict environ, CConnection connection, CRequestHead head)
