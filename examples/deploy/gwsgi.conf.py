"""A configuration for a service behind nginx: gwsgi --config gwsgi.conf.py

Every setting is in docs/settings.md; a gunicorn.conf.py works as well.
"""

import os
from pathlib import Path

wsgi_app = "hello:app"
pythonpath = str(Path(__file__).resolve().parents[1])

# nginx connects to this socket. nginx must close idle connections first, so keepalive is long here.
bind = [os.environ.get("HELLO_BIND", "unix:/run/hello/gwsgi.sock")]
keepalive = 75

# The number of workers depends on CPU and memory; each serves up to worker_connections requests at a time.
workers = os.environ.get("HELLO_WORKERS", "auto")
worker_connections = 1000

# nginx's fields about the client (X-Forwarded-For, X-Forwarded-Proto) are trusted: only nginx can reach the socket.
forwarded_allow_ips = "*"

# Seconds that a deployment gives requests in flight to end.
graceful_timeout = 30

# supervisor keeps both streams.
accesslog = "-"
errorlog = "-"
loglevel = "info"
