cimport cython

from geventwsgi.observe.access cimport Record as CRecord, Renderer as CRenderer
from geventwsgi.observe.outputs.sinks cimport Sink as CSink

cdef class Recorder:
    cdef object _log
    cdef CSink _sink
    cdef CRenderer _renderer

    @cython.locals(sink=CSink, renderer=CRenderer)
    cpdef take(self, CRecord record)
