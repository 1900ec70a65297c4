from geventwsgi.websocket._masking cimport unmask, unmasked_frame
from geventwsgi.websocket.message cimport Message as CMessage

cimport cython

cdef int _CONTINUATION, _TEXT, _BINARY, _CLOSE, _PONG
cdef int _FIN, _RSV1, _OTHER_RSV, _MASKED, _LONGEST_CONTROL, _LONGEST_PART

cdef class Control:
    cdef readonly int opcode
    cdef readonly bytes payload

cdef class FrameReader:
    cdef readonly bint hungry
    cdef long long _max_size
    cdef object _deflate
    cdef bytes _data
    cdef Py_ssize_t _at
    cdef int _opcode
    cdef bint _fin
    cdef long long _left
    cdef bytes _key
    cdef int _kind
    cdef bint _compressed
    cdef long long _size
    cdef CMessage _message
    cdef bytes _cut
    cdef bint _inflating

    cpdef bint is_empty(self) except -1
    cpdef bint must_finish(self) except -1
    cpdef bytes unread(self)
    cpdef feed(self, bytes data)
    cpdef read(self)
    @cython.locals(data=bytes, at=Py_ssize_t, have=Py_ssize_t, first=int, second=int, opcode=int, size="long long", keys=int)
    cdef bint _read_head(self) except -1
    cdef int _check(self, int first, int second, int opcode) except -1
    cdef long long _long_size(self, size, int form) except -1
    cdef int _begin(self, int opcode, int first, long long size) except -1
    cdef _too_big(self)
    @cython.locals(payload=bytes, opcode=int)
    cdef _read_control(self)
    @cython.locals(piece=bytes, count="long long", turn=int, last=bint)
    cdef _read_data(self)
    @cython.locals(room="long long", inflated=bytes)
    cdef bytes _inflate(self, bytes piece, bint last)
    @cython.locals(too_big=bint, message=CMessage)
    cdef _add(self, bytes piece, bint last)
    @cython.locals(used=Py_ssize_t)
    cdef _decode(self, bytes data, bint last)

cpdef bytes frame(int opcode, bytes payload, int first=*)
