"""A configuration for a service behind nginx: gwsgi --config gwsgi.conf.py

Every setting is in docs/settings.md; a gunicorn.conf.py works as well.
"""

import os
from pathlib import Path

wsgi_app = "hello:app"
pythonpath = str(Path(__file__).resolve().parents[1])

# nginx reaches it by this socket; it is the one to close idle connections, hence the long keepalive here.
bind = [os.environ.get("HELLO_BIND", "unix:/run/hello/gwsgi.sock")]
keepalive = 75

# CPU and memory decide how many workers; each holds as many waiting requests as worker_connections says.
workers = os.environ.get("HELLO_WORKERS", "auto")
worker_connections = 1000

# What nginx says about the client (X-Forwarded-For, X-Forwarded-Proto) is believed: only it can reach the socket.
forwarded_allow_ips = "*"

# A deployment gives requests in flight this long to end.
graceful_timeout = 30

# supervisor keeps both streams.
accesslog = "-"
errorlog = "-"
loglevel = "info"
