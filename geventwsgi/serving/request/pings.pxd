from geventwsgi.serving.loop cimport deadlines

cimport cython

cdef class Pings(deadlines.Holder):
    cdef object _buckets
    cdef object _client
    cdef double _interval
    cdef double _timeout
    cdef double _next
    cdef double _due
    cdef long long _before

    cpdef stop(self)
    @cython.locals(now=double)
    cpdef expire(self)
