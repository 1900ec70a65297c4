from geventwsgi.http.head cimport RequestHead as CRequestHead
from geventwsgi.serving.request.lane cimport Lane as CLane
from geventwsgi.serving.request.live_exchange cimport LiveExchange as CLiveExchange

cimport cython

cdef class EarlyHints:
    cdef object _lane

cdef class Hold:
    cdef object _lane

cdef class Trailers:
    cdef object _lane

@cython.locals(head=CRequestHead)
cpdef extend(dict environ, CLane lane, CLiveExchange exchange)
