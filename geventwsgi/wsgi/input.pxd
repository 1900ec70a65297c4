from geventwsgi.wsgi.exchange cimport Exchange as CExchange

cdef class Input:
    cdef CExchange _exchange
    cdef object _block
    cdef Py_ssize_t _position
    cdef public object failure
