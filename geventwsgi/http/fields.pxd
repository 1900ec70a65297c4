cdef class Fields:
    cdef public bytes raw
    cdef public tuple items
    cdef public object content_length
    cdef public bint chunked
    cdef public frozenset connection
    cdef public bint expect_continue
    cdef public str host
    cdef public bint upgrade
    cdef public dict cgi
    cdef public str scheme
