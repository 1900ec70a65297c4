"""HTTP/1.x as pure functions from bytes to values.

Nothing here knows sockets, gevent, WSGI or settings. The operator's limits come in as ``Limits``.
"""
