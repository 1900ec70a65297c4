from geventwsgi.flag cimport flag

cdef class Entrance:
    cdef public object trusts
    cdef public object tls
    cdef public object proxies
    cdef public object peers
    cdef public flag suppress_ragged_eofs
    cdef public flag has_prologue
