cdef class ErrorStream:
    cdef object _log
    cdef int _level
    cdef object _whose
    cdef public dict unfinished
