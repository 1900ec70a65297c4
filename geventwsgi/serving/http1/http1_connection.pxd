from geventwsgi cimport _clock as clock
from geventwsgi.serving.http1 cimport http1_admission, http1_head
from geventwsgi.serving.http1.http1_affinity cimport Affinity as CAffinity
from geventwsgi.serving.http1.http1_exchange cimport Http1Exchange
from geventwsgi.serving.http1.http1_parked cimport Http1Parked as CHttp1Parked
from geventwsgi.serving.http1.http1_waiting cimport Http1Waiting as CHttp1Waiting
from geventwsgi.serving.request.live_exchange cimport LiveExchange as CLiveExchange
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.loop cimport _references as marks
from geventwsgi.serving.accept cimport connection as connections
from geventwsgi.serving.request.lane cimport Lane
from geventwsgi.wsgi.repeated cimport Repeated as CRepeated

from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.http1.http1_policy cimport Http1Policy as CHttp1Policy

cimport cython

cdef object ENDED, HELD, IDLE, MORE, NOTHING

cdef class Http1Connection(connections.Connection):
    cdef public CLiveExchange exchange
    cdef public Lane lane
    cdef public bytes last_data
    cdef public CRequestHead last_head
    cdef public CHttp1Policy policy
    cdef public CRepeated repeated

    cpdef open(self, CService service, CHttp1Policy policy, sock, address)

    @cython.locals(parked=CHttp1Parked)
    cpdef _resume(self)
    @cython.locals(parked=CHttp1Parked)
    cpdef wake(self, bint timed_out)
    @cython.locals(lane=Lane)
    cpdef forget(self)

cdef class Http1Speaker(connections.Speaker):
    cdef public CHttp1Policy policy

    @cython.locals(made=Http1Connection)
    cpdef connections.Connection open(self, sock, address)

cpdef serve(Http1Connection connection)
@cython.locals(exchange=Http1Exchange, affinity=CAffinity, head=CRequestHead, last=CFields, repeated=CRepeated)
cpdef receive(Http1Connection connection)
@cython.locals(known=Py_ssize_t, lane=Lane, policy=CHttp1Policy)
cpdef answer(Http1Connection connection, Http1Exchange exchange, CHttp1Waiting waited=*)
@cython.locals(exchange=Http1Exchange)
cpdef _call_again(Http1Connection connection, CHttp1Waiting waited)
@cython.locals(former=Lane, repeated=CRepeated, lane=Lane)
cpdef Lane _new_lane(Http1Connection connection, Http1Exchange exchange)
@cython.locals(lane=Lane)
cpdef _pass_on(Http1Connection connection, Http1Exchange exchange)
@cython.locals(lane=Lane)
cpdef _hold(Http1Connection connection, CHttp1Parked parked)
cpdef release(Http1Connection connection)
