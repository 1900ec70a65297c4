from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.http cimport encode
from geventwsgi.http.body cimport Body as CBody
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.http1.http1_parked cimport Http1Parked as CHttp1Parked
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.request cimport live_exchange
from geventwsgi.serving.wire.stream cimport Stream as CStream
from geventwsgi.wsgi cimport exchange

from geventwsgi.serving.accept.timeouts cimport Timeouts as CTimeouts
from geventwsgi.serving.http1 cimport http1_policy as policies

cimport cython

cdef int BURST
cdef Py_ssize_t BODY_RECV
cdef double PAUSE, _NEVER

cdef class Http1Exchange(live_exchange.LiveExchange):
    cdef CBody _body
    cdef Py_ssize_t _chunk_size
    cdef bytes _chunk_line
    cdef CConnection _connection
    cdef policies.Http1Policy _policy
    cdef CLane _lane
    cdef double _credit
    cdef long long _excess
    cdef object _framing
    cdef long long _left
    cdef object _length
    cdef double _last_piece
    cdef tuple _trailers
    cdef object _raw_socket
    cdef exchange.ResponseHead _response
    cdef CStream _stream
    cdef public CHttp1Parked successor
    cdef int _pieces
    cdef flag _continue
    cdef flag _cut
    cdef flag _finished
    cdef flag _keep_alive
    cdef flag _mid_chunk

    cpdef enter(self, CLane lane)
    @cython.locals(timeouts=CTimeouts, forwarding=policies.Forwarding)
    cpdef begin(self, CConnection connection, policies.Http1Policy policy, CRequestHead head)
    @cython.locals(data=bytes, piece=bytes, rest=bytes)
    cpdef bytes _read_body(self, CBody body, Py_ssize_t size, double timeout)
    cpdef bytes _receive_paced(self, Py_ssize_t size, double longest)
    @cython.locals(size=Py_ssize_t, head=bytes, whole=bint)
    cpdef write(self, bytes data, bint last=*)
    cpdef _send(self, bytes first, bytes second, bytes third=*, bytes fourth=*, bint more=*)
    cpdef _send_last(self, bytes first, bytes second)
    @cython.locals(now=double)
    cpdef _send_interim(self, bytes data)
    cpdef _break(self, error, bytes head)
    cpdef _look_for_burst(self)
    cpdef _lost(self)
    @cython.locals(lane=CLane)
    cpdef _depart(self)
    cpdef bytes _encode_head(self)
    cpdef bint settle(self)
    cpdef bint _read_away(self)
