cdef class ErrorStream:
    cdef object _log
    cdef int _level
    cdef public dict unfinished
