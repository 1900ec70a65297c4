from geventwsgi.wsgi.held cimport Piece as CPiece

cimport cython

cdef class Message:
    cdef readonly str channel
    cdef readonly str source
    cdef readonly object number
    cdef readonly str text
    cdef readonly object rank
    cdef readonly object reach
    cdef readonly object total
    cdef readonly object before
    cdef readonly str id
    cdef readonly object missed
    cdef readonly Message original
    cdef bytes encoded
    cdef CPiece piece
    cdef bytes frame

    @cython.locals(message=Message)
    cpdef bytes encode(self)
    @cython.locals(message=Message)
    cpdef CPiece as_piece(self)
    @cython.locals(message=Message)
    cpdef bytes as_frame(self)
    @cython.locals(found=Message)
    cpdef Message with_id(self, str place)
    @cython.locals(altered=Message)
    cpdef Message altered(self, missed)
    cdef Message _copy(self, str place, missed)

cdef class History:
    cdef str _channel
    cdef object _keep
    cdef bint _counted
    cdef list _messages
    cdef set _ranks
    cdef Py_ssize_t _dropped
    cdef object _dropped_reach
    cdef readonly dict _sources
    cdef dict _worlds
    cdef str _world
    cdef str _here
    cdef object _base
    cdef readonly object reach
    cdef readonly object total
    cdef readonly Py_ssize_t strays_until

    @cython.locals(messages=list)
    cpdef Message last_at(self, Py_ssize_t position)
