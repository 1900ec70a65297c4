from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.request.client cimport Client
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.serving.request.live_exchange cimport LiveExchange as CLiveExchange
from geventwsgi.serving.request.request_deadline cimport Deadline

cimport cython

cdef class EarlyHints:
    cdef object _lane

    cpdef begin(self, lane)

cdef class Hold:
    cdef object _lane

    cpdef begin(self, lane)

cdef class Trailers:
    cdef object _lane

    cpdef begin(self, lane)

cpdef extend(dict environ, CLane lane, CLiveExchange exchange)
@cython.locals(client=Client, deadline=Deadline, hold=Hold, hints=EarlyHints, trailers=Trailers)
cpdef _add(dict environ, CLane lane, CRequestHead head)
