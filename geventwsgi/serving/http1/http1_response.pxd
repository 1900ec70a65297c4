from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.http cimport encode
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.http1.http1_body cimport ArrivingBody as CArrivingBody
from geventwsgi.serving.http1.http1_policy cimport Http1Policy as CHttp1Policy
from geventwsgi.serving.request cimport live_exchange
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi cimport exchange

cimport cython

cdef int BURST
cdef double PAUSE
cdef object CHUNKED, CLOSE, LENGTH, NONE
cdef exchange.ResponseHead _NO_HEAD

cdef class ResponseHalf(live_exchange.LiveExchange):
    cdef CArrivingBody _body
    cdef CConnection _connection
    cdef CHttp1Policy _policy
    cdef CLane _lane
    cdef CStream _stream
    cdef exchange.ResponseHead _response
    cdef object _length
    cdef object _framing
    cdef long long _left
    cdef long long _excess
    cdef Py_ssize_t _chunk_size
    cdef bytes _chunk_line
    cdef tuple _trailers
    cdef double _last_piece
    cdef short _pieces
    cdef flag _again
    cdef flag _continue
    cdef flag _cut
    cdef flag _finished
    cdef flag _keep_alive
    cdef flag _mid_chunk

    cpdef await_response(self, CConnection connection, CHttp1Policy policy)
    @cython.locals(size=Py_ssize_t, head=bytes, whole=bint)
    cpdef write(self, bytes data, bint last=*)
    cpdef _send(self, bytes first, bytes second, bytes third=*, bytes fourth=*, bint more=*)
    cpdef _send_last(self, bytes first, bytes second)
    cpdef _fail(self, error, bytes head)
    @cython.locals(now=double)
    cpdef _look_for_burst(self)
    cpdef _lost(self)
    cpdef bytes _encode_head(self)
    cpdef _send_interim(self, bytes data)
    @cython.locals(lane=CLane)
    cpdef _depart(self)
