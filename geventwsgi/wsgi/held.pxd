cdef class Piece:
    cdef public bytes data
    cdef public bytes framed

cdef class Call:
    cdef public object gateway
    cdef public object result
    cdef public object response
    cdef public dict environ
    cdef public double started
