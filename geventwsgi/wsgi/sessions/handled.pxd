from geventwsgi.flag cimport flag
from geventwsgi.websocket.feeds cimport Feed
from geventwsgi.websocket.framing cimport Control as CControl, FrameReader as CFrameReader
from geventwsgi.websocket.framing cimport frame
from geventwsgi.wsgi cimport held
from geventwsgi.wsgi.held cimport Line as CLine
from geventwsgi.wsgi.sessions.session cimport content_of, opcode_of

cimport cython

cdef int _CLOSE, _PING

cdef class HandledWebSocket(held.Upgrade):
    cdef object __weakref__
    cdef readonly object handler
    cdef public object data
    cdef readonly object path
    cdef readonly object origin
    cdef readonly object protocol
    cdef CLine _outlet
    cdef object _feeds
    cdef object _deflate
    cdef list _state
    cdef CFrameReader _reader
    cdef object _reason
    cdef long long _max_size
    cdef int _code
    cdef flag _opened
    cdef flag _told
    cdef flag _answered
    cdef flag _refused
    cdef flag _lost

    @cython.locals(data=bytes, opcode=int, outlet=CLine)
    cpdef send(self, message, binary=*)
    @cython.locals(compressed=bytes)
    cdef _send_compressed(self, outlet, int opcode, bytes data)
    cdef _why(self)
    cdef _subscribe(self, source, after, encode, missed)
    cdef list _all_feeds(self)
    cdef _find(self, source)
    cdef _drop(self, Feed feed)
    cdef _take_from(self, Feed feed)
    cdef _end(self, int code, reason, bytes payload, double seconds)
    cdef _let_go(self)
    @cython.locals(reader=CFrameReader)
    cpdef feed(self, bytes data)
    @cython.locals(reader=CFrameReader)
    cpdef bint hungry(self) except -1
    @cython.locals(reader=CFrameReader)
    cpdef bytes unread(self)
    @cython.locals(reader=CFrameReader, outlet=CLine)
    cdef _next_message(self)
    cdef _obey(self, CControl control)
