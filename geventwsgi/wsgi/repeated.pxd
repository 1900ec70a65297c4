from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead

cdef class Repeated:
    cdef public dict environ
    cdef public CFields fields
    cdef public CRequestHead head
