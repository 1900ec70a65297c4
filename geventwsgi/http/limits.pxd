cdef class Limits:
    cdef public long long line
    cdef public long long fields
    cdef public long long field_size
    cdef public long long head
    cdef public long long body
