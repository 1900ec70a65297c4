import cython

from geventwsgi.serving.loop cimport _references as marks

cpdef let_go_later(hub, greenlet)
cpdef list held_by(greenlet)
cpdef list held_by_thread(ident)
cpdef drop_context(greenlet)

@cython.locals(trees=list)
cpdef let_go(list held)

@cython.locals(garbage=list, trees=list, circular=bint)
cdef list _loosened(list held)

@cython.locals(found=dict, counts=dict, known=dict, alive=list, pair=list, own=Py_ssize_t)
cdef list _garbage(list held)

@cython.locals(found=dict, counts=dict, queue=list, others=list, left=Py_ssize_t)
cdef tuple _reached_from(list held)

cdef bint _may_be_garbage(one) except -1

@cython.locals(referrers=dict, counts=dict, trees=list)
cdef list _trees(list garbage)
