from geventwsgi.http.head cimport RequestHead as CRequestHead

cdef class Sender:
    cdef object _connection

cpdef dict extensions(connection, CRequestHead head)
