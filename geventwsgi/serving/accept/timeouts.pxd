cdef class Timeouts:
    cdef public double handshake_timeout
    cdef public double first_byte_timeout
    cdef public double header_timeout
    cdef public double keepalive
    cdef public double body_grace
    cdef public double body_min_rate
    cdef public double request_timeout
    cdef public double queue_timeout
    cdef public double linger_timeout
    cdef public double body
    cdef public double drain_body
    cdef public double drain_gap
    cdef public double warm
