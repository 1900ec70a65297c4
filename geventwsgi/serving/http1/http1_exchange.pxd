from geventwsgi.flag cimport flag
from geventwsgi.http cimport encode, forwarded
from geventwsgi.http.fields cimport Fields as CFields
from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.accept.connection cimport Connection as CConnection
from geventwsgi.serving.accept.service cimport Service as CService
from geventwsgi.serving.http1 cimport http1_response
from geventwsgi.serving.http1.http1_body cimport ArrivingBody as CArrivingBody
from geventwsgi.serving.http1.http1_parked cimport Http1Parked as CHttp1Parked
from geventwsgi.serving.http1.http1_policy cimport Forwarding as CForwarding, Http1Policy as CHttp1Policy
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.wsgi cimport exchange

cimport cython

cdef object CHUNKED, CLOSE, LENGTH
cdef double _NEVER
cdef list _NO_TRAILERS

cdef class Http1Exchange(http1_response.ResponseHalf):
    cdef object _raw_socket
    cdef public CHttp1Parked successor

    @cython.locals(fields=CFields, service=CService, forwarding=CForwarding)
    cpdef begin(self, CConnection connection, CHttp1Policy policy, CRequestHead head)
    cpdef _believe(self, CForwarding forwarding, CFields fields)
    cpdef enter(self, CLane lane)
    cpdef bytes _read_body(self, CArrivingBody body, Py_ssize_t size, double timeout)
    cpdef bint settle(self)
    cpdef bint _read_away(self)
