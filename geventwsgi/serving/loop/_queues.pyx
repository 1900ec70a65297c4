"""What ``queues.py`` does, in a list of which only a part is in use. No handler of a signal runs inside a method."""
# cython: boundscheck=False, wraparound=False, nonecheck=False
# Each method checks the places itself.

#: Places that are kept while the queue is empty, although it has needed more.
cdef Py_ssize_t KEPT = 256


cdef class Queue:
    """See ``geventwsgi.serving.loop.queues.Queue``."""

    def __cinit__(self):
        #: The objects are those from ``_first`` to ``_end``; all other places have None.
        self._items = []
        self._first = self._end = 0

    def __len__(self):
        return self._end - self._first

    def __iter__(self):
        return iter(self._items[self._first : self._end])

    cpdef put(self, item):
        if self._end == len(self._items):
            self._make_room()
        if self._end < len(self._items):
            self._items[self._end] = item
        else:
            self._items.append(item)
        self._end += 1

    cpdef take(self):
        if self._first == self._end:
            raise IndexError("the queue is empty")
        item = self._items[self._first]
        self._items[self._first] = None
        self._first += 1
        if self._first == self._end:
            self._first = self._end = 0
            if len(self._items) > KEPT:
                del self._items[KEPT:]
        return item

    cpdef take_last(self):
        if self._first == self._end:
            raise IndexError("the queue is empty")
        self._end -= 1
        item = self._items[self._end]
        self._items[self._end] = None
        return item

    cdef _make_room(self):
        """Move the objects to the front, if half of the places before them are free."""
        if 0 < self._end <= 2 * self._first:
            del self._items[: self._first]
            self._end -= self._first
            self._first = 0
