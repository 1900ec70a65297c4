from geventwsgi cimport _clock as clock
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.http1.http1_exchange cimport Http1Exchange as CHttp1Exchange
from geventwsgi.serving.http1.http1_policy cimport Http1Policy as CHttp1Policy
from geventwsgi.serving.request.lane cimport Lane as CLane

cimport cython

cdef object LENGTH

@cython.locals(service=CService)
cpdef bint admit(CConnection connection, CHttp1Policy policy, CLane lane, CHttp1Exchange exchange) except -1
@cython.locals(began=double, timeout=double)
cpdef bint _get_place(CConnection connection, CHttp1Policy policy, CLane lane, CHttp1Exchange exchange) except -1
cpdef readmit(CConnection connection, CLane lane, CHttp1Exchange exchange)
cpdef _wait_for_place(CConnection connection, CLane lane, timeout)
@cython.locals(service=CService)
cpdef refuse(CConnection connection, CHttp1Policy policy, error, CRequestHead head, CHttp1Exchange exchange=*)
@cython.locals(duration=double)
cpdef _record(CConnection connection, CHttp1Policy policy, reply, CRequestHead head, CHttp1Exchange exchange)
