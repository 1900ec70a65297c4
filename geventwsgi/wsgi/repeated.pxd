from geventwsgi.http.fields cimport Fields as CFields

cdef class Repeated:
    cdef public dict environ
    cdef public CFields fields
