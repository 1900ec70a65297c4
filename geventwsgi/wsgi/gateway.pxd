from geventwsgi cimport _clock as clock
from geventwsgi.flag cimport flag
from geventwsgi.observe.error_stream cimport ErrorStream as CErrorStream
from geventwsgi.observe.tally cimport Tally as CTally
from geventwsgi.wsgi.environ cimport EnvironBuilder as CEnvironBuilder
from geventwsgi.wsgi.exchange cimport Exchange as CExchange
from geventwsgi.wsgi.held cimport Call as CCall
from geventwsgi.wsgi.response cimport LastHead as CLastHead, Response as CResponse

cimport cython

cdef int CLIENT_LEFT, NO_CONTENT, SWITCHING_PROTOCOLS

cdef class Gateway:
    cdef public object application
    cdef CEnvironBuilder _environ
    cdef object _log
    cdef CErrorStream _errors
    cdef object _on_record
    cdef CTally _tally
    cdef object _pre_request
    cdef object _post_request
    cdef tuple _interrupts
    cdef CLastHead _last_head
    cdef flag _forsaken
    cdef flag _debug
    cdef flag _use_sendfile
    cdef flag _observed
    cdef flag _shows
    cdef flag _prepares
    cdef object _identities

    @cython.locals(response=CResponse, environ=dict)
    cpdef run(self, CExchange exchange, CCall former=*)
    cpdef _end(self, CExchange exchange, dict environ, result, CResponse response, double started)
    cpdef bint _send(self, CExchange exchange, result, CResponse response) except -1
    cpdef bint _send_chunks(self, CExchange exchange, chunks, CResponse response) except -1
    cpdef bint _is_left(self, CExchange exchange, CResponse response) except -1
    cpdef bint _holds(self, CExchange exchange, chunks, chunk) except -1
    cpdef _hold(self, CExchange exchange, dict environ, result, CResponse response, double started)
    cpdef _send_file(self, CExchange exchange, wrapper, CResponse response)
    @cython.locals(code=int, duration=double)
    cpdef _observe(self, CExchange exchange, dict environ, CResponse response, double started)
    cpdef _call_hook(self, request, dict environ, CResponse response, CExchange exchange)
