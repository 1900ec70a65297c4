"""What the bytes mean: HTTP/1.x as pure functions from bytes to values.

Nothing here knows a socket, gevent, WSGI or a setting; what an operator may bound comes in as ``Limits``.
"""
