from geventwsgi cimport _clock as clock
from geventwsgi.serving.http1_exchange cimport Http1Exchange
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.connection cimport Connection as CConnection

cimport cython

cpdef serve(CConnection connection)
@cython.locals(exchange=Http1Exchange)
cpdef receive(CConnection connection)
cpdef answer(CConnection connection, Http1Exchange exchange)
cpdef release(CConnection connection)
cpdef bint _begin(CConnection connection, Http1Exchange exchange)
cpdef CRequestHead _read_head(CConnection connection, bytes data)
