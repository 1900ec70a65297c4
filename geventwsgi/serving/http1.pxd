from geventwsgi cimport _clock as clock
from geventwsgi.serving.http1_exchange cimport Http1Exchange
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving cimport _references as marks
from geventwsgi.serving.connection cimport Connection as CConnection
from geventwsgi.serving.lane cimport Lane as CLane
from geventwsgi.wsgi.repeated cimport Repeated as CRepeated

cimport cython

cpdef serve(CConnection connection)
@cython.locals(exchange=Http1Exchange)
cpdef receive(CConnection connection)
@cython.locals(known=Py_ssize_t, lane=CLane)
cpdef answer(CConnection connection, Http1Exchange exchange)
@cython.locals(former=CLane, repeated=CRepeated, lane=CLane)
cpdef CLane _new_lane(CConnection connection, Http1Exchange exchange)
cpdef release(CConnection connection)
cpdef bint _begin(CConnection connection, CLane lane, Http1Exchange exchange)
cpdef CRequestHead _read_head(CConnection connection, bytes data)
