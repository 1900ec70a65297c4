from geventwsgi.serving.http1 cimport http1_held

cdef class Http1Waiting(http1_held.Http1Held):
    pass
