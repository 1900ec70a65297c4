cdef class Memo:
    cdef object _function
    cdef dict _values
