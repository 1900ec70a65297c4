from geventwsgi.observe.access cimport Renderer as CRenderer
from geventwsgi.observe.sinks cimport Sink as CSink

cdef class Recorder:
    cdef object _log
    cdef CSink _sink
    cdef CRenderer _renderer
