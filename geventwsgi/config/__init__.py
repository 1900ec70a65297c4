"""What the operator wants: one table of settings, their sources, and the objects that settings name.

Nothing here knows a socket, gevent or HTTP; the modules that do are handed a frozen ``Config``. ``ssl`` and ``socket``
stay unimported, for a worker patches before anything may import them.
"""
