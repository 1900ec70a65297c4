from geventwsgi cimport _clock as clock
from geventwsgi.observe.error_stream cimport ErrorStream as CErrorStream
from geventwsgi.wsgi.environ cimport EnvironBuilder as CEnvironBuilder
from geventwsgi.wsgi.exchange cimport Exchange as CExchange
from geventwsgi.wsgi.response cimport LastHead as CLastHead, Response as CResponse

cimport cython

cdef class Gateway:
    cdef public object application
    cdef public bint forsaken
    cdef CEnvironBuilder _environ
    cdef object _log
    cdef CErrorStream _errors
    cdef bint _debug
    cdef bint _use_sendfile
    cdef object _on_record
    cdef object _pre_request
    cdef object _post_request
    cdef tuple _interrupts
    cdef bint _observed
    cdef bint _shows
    cdef CLastHead _last_head

    @cython.locals(response=CResponse, environ=dict)
    cpdef run(self, CExchange exchange)
    cpdef _end(self, CExchange exchange, dict environ, result, CResponse response, double started)
    cpdef _send(self, result, CResponse response)
    cpdef _send_chunks(self, chunks, CResponse response)
    cpdef _send_file(self, wrapper, CResponse response)
    cpdef _observe(self, CExchange exchange, dict environ, CResponse response, double started)
