cimport cython

cdef int _OTHER, _BYTES_SENT, _DEPARTED, _HISTOGRAMS
cdef dict _METHOD

cdef class Tally:
    cdef unsigned long long[::1] _fields
    cdef double[::1] _bounds
    cdef int _buckets

    @cython.locals(row=int, column=int)
    cpdef request(self, str method, int status, double seconds, long long sent)
    @cython.locals(bucket=int, first=int, nanoseconds=cython.ulonglong)
    cpdef observe(self, int histogram, double seconds)
