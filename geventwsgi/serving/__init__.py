"""How one process serves connections. gevent lives here."""
