cdef class SetsCookie:
    cdef public object application
    cdef public str _start
    cdef public object _tokens
    cdef public str _own

cdef class Learns:
    cdef public object application
    cdef public str _name
    cdef public object _learn
    cdef public bint _handshakes
