from geventwsgi cimport _clock as clock
from geventwsgi.websocket.framing cimport FrameReader as CFrameReader
from geventwsgi.websocket.framing cimport frame

cimport cython

cdef class WebSocket:
    cdef dict __dict__
    cdef object __weakref__
    cdef public object environ
    cdef public bint departed
    cdef public bint lost
    cdef readonly object handler
    cdef readonly object handler_data
    cdef object _answer
    cdef object _pings
    cdef bint _closed
    cdef object _reason
    cdef object _sock
    cdef object _deflate
    cdef CFrameReader _reader
    cdef int _size

    cdef _begin(self)
    cpdef receive(self)
    cdef _receive(self)
    @cython.locals(reader=CFrameReader)
    cdef _next_event(self)
    cdef _receive_more(self)
    cdef _lose(self)
    @cython.locals(data=bytes)
    cpdef send(self, message, binary=*)
    @cython.locals(first=int)
    cdef _send_message(self, int opcode, bytes data)

@cython.locals(text=str)
cpdef bytes content_of(message, binary)
cpdef int opcode_of(message, binary) except -1
cpdef is_of_websocket(error)
