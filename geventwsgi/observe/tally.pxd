cimport cython

cdef int CLIENT_LEFT, _OTHER, _BYTES_SENT, _BYTES_RECEIVED, _DEPARTED, _DURATION, _HISTOGRAMS
cdef dict _METHOD

cdef class Tally:
    cdef unsigned long long[::1] _fields
    cdef double[::1] _sums
    cdef double[::1] _bounds
    cdef int _buckets

    @cython.locals(row=int, column=int)
    cpdef request(self, str method, int status, double seconds, long long sent)
    cpdef received(self, long long size)
    @cython.locals(bucket=int, first=int)
    cpdef observe(self, int histogram, double seconds)
