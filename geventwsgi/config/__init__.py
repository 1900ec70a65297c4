"""The configuration: one table of settings, their sources, and the objects that settings name.

Nothing here uses sockets, gevent or HTTP; the modules that do get a frozen ``Config``. ``ssl`` and ``socket`` are not
imported here, since a worker must patch before any import of them.
"""
