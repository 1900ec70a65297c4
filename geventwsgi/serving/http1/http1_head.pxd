from geventwsgi cimport _clock as clock
from geventwsgi.http cimport head as heads
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.http1.http1_policy cimport Http1Policy as CHttp1Policy

cimport cython

@cython.locals(service=CService)
cpdef CRequestHead read_head(CConnection connection, CHttp1Policy policy, bytes data, CFields last)
