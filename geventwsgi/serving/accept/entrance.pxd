cdef class Entrance:
    cdef public object trusts
    cdef public object tls
    cdef public object proxies
    cdef public object peers
    cdef public bint suppress_ragged_eofs
    cdef public bint has_prologue
