from geventwsgi cimport _clock as clock
from geventwsgi.serving.http1_exchange cimport Http1Exchange as CHttp1Exchange
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.connection cimport Connection as CConnection

cpdef serve(CConnection connection)
cpdef receive(CConnection connection)
cpdef answer(CConnection connection, CHttp1Exchange exchange)
cpdef release(CConnection connection)
cpdef bint _begin(CConnection connection, CHttp1Exchange exchange)
cpdef CRequestHead _read_head(CConnection connection, bytes data)
