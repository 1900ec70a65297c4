from geventwsgi.websocket.framing cimport frame

cdef class Feed:
    cdef readonly object source
    cdef readonly object reading
    cdef object _encode
    cdef object _missed
    cdef object _later
    cdef readonly bint over

    cpdef bint is_of(self, source) except -1
    cpdef take(self, outlet)
    cdef bytes _frames(self, list messages)

cdef class Joined:
    cdef list _messages
    cdef object _encode
    cdef object _missed
    cdef bytes _frames

    cpdef bytes frames(self, list messages, encode, missed)

cdef class LastFrame:
    cdef object _message
    cdef object _encode
    cdef bytes _frame

    cpdef bytes of(self, message, encode)

cdef bytes text_frame(message, encode)
