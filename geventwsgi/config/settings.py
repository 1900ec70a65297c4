"""The table of settings: flags, files, environment variables, ``--help`` and the documentation are read from it.

Names, flags and defaults are gunicorn's, but for those marked "ours" and the differences that the documentation names.
To add a setting, add a line. How values are read is in ``kinds``; where they come from, in ``sources``.
"""

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from geventwsgi.config import kinds as k
from geventwsgi.config.nearest import nearest
from geventwsgi.config.setting import Setting


def _hook(name: str, parameters: str, text: str, no_effect: str = "", **kind: Any) -> Setting:
    """Return the entry of a function that is called with `parameters`."""
    return Setting(name, k.nothing, k.hook(parameters, **kind), "", text, no_effect)


_YET = "yet"
_WSGI = "here: WSGI applications are served, ASGI ones are not"
_DIRTY = "here: there are no dirty arbiters"
_UWSGI = "here: HTTP is the only protocol served"
_GREENLETS = "here: a worker runs requests in greenlets, not in threads"
_MEMORY = "here: heartbeats are kept in memory and bodies are streamed, so no temporary file is written"

_LOCAL = ["127.0.0.1", "::1"]
_SCHEME_HEADERS = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}
_ACCESS_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
_SYSLOG_ADDRESSES = {
    "darwin": "unix:///var/run/syslog",
    "freebsd": "unix:///var/run/log",
    "dragonfly": "unix:///var/run/log",
    "openbsd": "unix:///dev/log",
}
_SYSLOG_ADDRESS = _SYSLOG_ADDRESSES.get(sys.platform.rstrip("0123456789"), "udp://localhost:514")
_UID, _GID = getattr(os, "geteuid", int)(), getattr(os, "getegid", int)()
# The last three are for gunicorn's files: trace, notset and an empty text, which are no levels of logging.
_LEVEL_WORDS = {"warn": "warning", "fatal": "critical", "trace": "debug", "notset": "info", "": "info"}
_LEVELS = k.one_of("debug", "info", "warning", "error", "critical", metavar="LEVEL", **_LEVEL_WORDS)
_PROXY_WORDS = {"true": "auto", "1": "auto", "false": "off", "0": "off", "none": "off"}
_PROXY = k.one_of("off", "v1", "v2", "auto", metavar="MODE", constant="auto", **_PROXY_WORDS)
_FORWARDED = k.one_of("off", "x-forwarded-for", "forwarded", metavar="FIELD", false="off", none="off")
_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
_ON_OFF = k.one_of("on", "off", metavar="on|off", true="on", false="off")
_FACILITIES = k.one_of(
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
_CLEARTEXT = k.one_of("off", "prior-knowledge", "upgrade", "both", true="prior-knowledge", false="off")


# fmt: off
_TABLE: dict[str, tuple[Setting, ...]] = {
    "Config File": (
        Setting("config", "./gwsgi.conf.py", k.PATH, "-c, --config",
            "The configuration file, which is Python: PATH, file:PATH or python:MODULE. Without it ./gwsgi.conf.py "
            "is read, or ./gunicorn.conf.py if there is only that."),
        Setting("wsgi_app", None, k.TEXT, "",
            "The application, as MODULE:APP; an application on the command line overrides it."),
    ),
    "Server Socket": (
        Setting("bind", ["127.0.0.1:8000"], k.BINDS, "-b, --bind",
            "An address to listen at: HOST:PORT, [IPV6]:PORT, :PORT (every IPv4 interface), unix:PATH or fd://N (an "
            "inherited socket). Repeat the flag or write commas for several addresses. If PORT is set, the default "
            "is 0.0.0.0:$PORT.", variable="PORT", template="0.0.0.0:{}"),
        Setting("backlog", 2048, k.COUNT, "--backlog",
            "The number of connections that may wait to be accepted; the system may reduce it (net.core.somaxconn on "
            "Linux)."),
    ),
    "Deadlines": (
        Setting("handshake_timeout", 10, k.SECONDS, "--handshake-timeout",
            "Seconds that a TLS handshake may take, from accept on; then the connection is dropped."),
        Setting("first_byte_timeout", 30, k.SECONDS, "--first-byte-timeout",
            "Seconds that a new connection may be silent; then it is closed."),
        Setting("header_timeout", 10, k.SECONDS, "--header-timeout",
            "Seconds that a request's head may take, from its first byte to its last; then the client gets 408."),
        Setting("body_min_rate", 240, k.LARGE_COUNT, "--body-min-rate",
            "Bytes of a request body that a client must send in each second in which the server waits for it; a "
            "slower client gets 408. With 0 any rate is allowed, but no piece may take longer than a minute."),
        Setting("body_grace", 10, k.SECONDS, "--body-grace",
            "Seconds that a client may be behind body_min_rate."),
        Setting("request_timeout", 0, k.SECONDS, "--request-timeout",
            "Seconds that the application may take for a request; then RequestTimeout is raised in its greenlet, and "
            "the client gets 504, or a cut response if the head has been sent. 0: no limit."),
        Setting("queue_timeout", 30, k.SECONDS, "--queue-timeout",
            "Seconds that a request beyond worker_connections may wait; then the client gets 503 with Retry-After. "
            "0: no limit."),
        Setting("linger_timeout", 30, k.SECONDS, "--linger-timeout",
            "Seconds for which the server, before it closes a connection, reads and discards what the client still "
            "sends, since an immediate close would cut the response off. Five seconds without a byte end this "
            "earlier. 0: no waiting."),
        Setting("write_timeout", 60, k.SECONDS, "--write-timeout",
            "Seconds that a client may read nothing of a response, or less than write_min_rate; then the connection "
            "is dropped."),
        Setting("write_min_rate", 240, k.LARGE_COUNT, "--write-min-rate",
            "Bytes of a response that a client must read for each second of write_timeout, if it reads too little to "
            "make room for more. 0: any number but none."),
    ),
    "Worker Processes": (
        Setting("workers", 1, k.WORKERS, "-w, --workers",
            "The number of worker processes; requests run in greenlets, not in processes of their own. With auto "
            "there is one for each processor that this process may use by its affinity and its container's CPU "
            "quota, but no more than one for each 128 MiB of the container's memory limit.",
            variable="WEB_CONCURRENCY"),
        Setting("worker_class", "gevent", k.WORKER_CLASS, "-k, --worker-class",
            "gevent (gevent_wsgi and gevent_pywsgi mean the same), or MODULE:CLASS for a subclass of "
            "geventwsgi.Worker. gunicorn's gthread, eventlet and gevent classes by any name, and "
            "geventwebsocket's, are served by gevent with a warning."),
        Setting("threads", 1, k.COUNT, "--threads",
            "Threads per worker.", _GREENLETS),
        Setting("worker_connections", 1000, k.whole(1), "--worker-connections",
            "The largest number of requests that one worker serves at a time. Idle connections do not count."),
        Setting("limit_request_queue", 2048, k.COUNT, "--limit-request-queue",
            "The largest number of requests beyond worker_connections that wait in one worker; further requests get "
            "503 with Retry-After at once. 0: no limit."),
        Setting("accept_balance", "on", _ON_OFF, "--accept-balance",
            "Whether a worker defers for a moment if another one has fewer connections and requests, so that the "
            "other accepts a new connection."),
        Setting("affinity", "off", k.AFFINITY, "--affinity",
            "What tells the worker that a request belongs to, so that one worker serves all requests of a session: "
            "off, cookie or cookie:NAME (one of the server's own, which it sets), query:NAME (query:sid for "
            "Socket.IO), header:NAME (header:mcp-session-id), or address (the client's). A request that reaches "
            "another worker moves there with its connection. Not in gunicorn."),
        Setting("on_disconnect", "notify", k.one_of("notify", "cancel"), "--on-disconnect",
            "The effect on a request whose client has left: notify signals it by environ['geventwsgi.client'], "
            "cancel also raises ClientDisconnected in the request's greenlet."),
        Setting("half_close", "serve", k.one_of("serve", "gone"), "--half-close",
            "The treatment of a client that has closed its sending side only: serve answers it as long as it reads, "
            "gone treats it as a client that has left."),
        Setting("greenlet_per_request", False, k.SWITCH, "--greenlet-per-request",
            "Give every request a new greenlet, also if the last request has left no data in the old one. For "
            "libraries that identify a request by its greenlet in a way that the server cannot see. Not in gunicorn."),
        Setting("max_requests", 0, k.LARGE_COUNT, "--max-requests",
            "Replace a worker after this number of requests; it serves until its successor is ready. 0: never."),
        Setting("max_requests_jitter", 0, k.LARGE_COUNT, "--max-requests-jitter",
            "A random number up to this is added to max_requests, so that the workers are not all replaced at the "
            "same time."),
        Setting("max_worker_memory", 0, k.SIZE, "--max-worker-memory",
            "Replace a worker whose resident memory exceeds this size (512M, 2G) in three samples, a second apart; 0 "
            "never does. Without /proc it has no effect. Not in gunicorn."),
        Setting("max_worker_age", 0, k.SECONDS, "--max-worker-age",
            "Replace a worker that has served for this number of seconds; 0 never does. Not in gunicorn."),
        Setting("reload_surge", "1", k.SHARE, "--reload-surge",
            "The number of additional workers that may run while others are replaced, as a count or a percentage of "
            "workers (rounded up). Each needs memory until the worker that it replaces has ended. Not in gunicorn."),
        Setting("timeout", 30, k.SECONDS, "-t, --timeout",
            "Seconds after which a worker whose event loop is blocked is killed and replaced; 0 never does. A slow "
            "request does not block the loop: request_timeout limits it."),
        Setting("stall_threshold", 0, k.SECONDS, "--stall-threshold",
            "Seconds for which a worker's event loop may stand still before a line in the log says how long it did, in "
            "which line of code and for which request; try 0.1. Nothing is killed. 0 looks for nothing."),
        Setting("slow_request_threshold", 0, k.SECONDS, "--slow-request-threshold",
            "Seconds after which a request that still runs is logged once, with its stack and how its time was spent; "
            "nothing is killed. Held responses and WebSockets do not count. 0 looks for nothing."),
        Setting("graceful_timeout", 30, k.SECONDS, "--graceful-timeout",
            "Seconds that a stopping worker gives its requests in flight; the remaining requests are then cut."),
        Setting("handover", True, k.SWITCH_OFF, "--no-handover",
            "A worker that ends (HUP, max_requests, TTOU) gives idle connections, event streams, long-polls and "
            "WebSockets with a handler to the workers that go on; otherwise they end. Connections over TLS do, if the "
            "worker itself encrypts them. Not in gunicorn."),
        Setting("drain_rate", 0, k.COUNT, "--drain-rate",
            "Held connections (event streams, long-polls, WebSockets) that a stopping server ends each second, all "
            "workers together, within graceful_timeout: so their clients do not all come back in the same moment. 0 "
            "ends all at once. Not in gunicorn."),
        Setting("drain_on_shutdown", True, k.SWITCH_OFF, "--no-drain-on-shutdown",
            "On TERM, still serve the connections that wait to be accepted; otherwise they are reset. Not in "
            "gunicorn."),
        Setting("drain_delay", 0, k.SECONDS, "--drain-delay",
            "Seconds after TERM in which the server still accepts connections while health_path answers 503, so that "
            "balancers first stop sending. Not in gunicorn."),
        Setting("health_path", None, k.URL_PATH, "--health-path",
            "A path that the server itself answers: 200 while it serves, 503 when it begins to stop. Such requests "
            "reach neither the application nor the access log nor the queue of requests. Not in gunicorn."),
        Setting("keepalive", 75, k.SECONDS, "--keep-alive",
            "Seconds that an idle connection is kept for another request; 0 closes it after each response. "
            "gunicorn's default is 2. A balancer in front should have a shorter limit, so that it closes first."),
        Setting("asgi_loop", "auto", k.one_of("auto", "asyncio", "uvloop"), "--asgi-loop",
            "The event loop of ASGI workers.", _WSGI),
        Setting("asgi_lifespan", "auto", k.one_of("auto", "on", "off"), "--asgi-lifespan",
            "ASGI's lifespan protocol.", _WSGI),
        Setting("asgi_disconnect_grace_period", 3, k.SECONDS, "--asgi-disconnect-grace-period",
            "Seconds that an ASGI application may go on after its client has left.", _WSGI),
        Setting("wsgi_websocket", False, k.SWITCH, "--wsgi-websocket",
            "Answer WebSocket handshakes, and give the application gevent-websocket's environ['wsgi.websocket']. "
            "Libraries that do the handshake themselves (simple-websocket, Flask-Sock, Flask-SocketIO) need no "
            "setting. Not in gunicorn."),
        Setting("websocket_max_message_size", 16777216, k.LARGE_COUNT, "--websocket-max-message-size",
            "The largest message, in bytes, that environ['wsgi.websocket'] receives; a larger one closes it with "
            "1009. 0: no limit."),
        Setting("websocket_ping_interval", 25, k.SECONDS, "--websocket-ping-interval",
            "Seconds from one ping to the next that environ['wsgi.websocket'] sends its client, so that proxies, which "
            "close silent connections after 30 to 100 s, keep it. 0: none. Not in gunicorn."),
        Setting("websocket_ping_timeout", 20, k.SECONDS, "--websocket-ping-timeout",
            "Seconds after a ping after which a client counts as gone that has sent nothing, while the application "
            "waits for its messages. 0: no limit. Not in gunicorn."),
        Setting("http_parser", "auto", k.one_of("auto", "fast", "python"), "--http-parser",
            "gunicorn's choice of parser.", "here: the compiled core is used where it is installed"),
    ),
    "Security": (
        Setting("limit_request_line", 4094, k.COUNT, "--limit-request-line",
            "The longest request line, in bytes; a longer one gets 414. 0: no limit."),
        Setting("limit_request_fields", 100, k.COUNT, "--limit-request-fields",
            "The largest number of header fields in a request; more get 431. 0: no limit."),
        Setting("limit_request_field_size", 8190, k.COUNT, "--limit-request-field_size, --limit-request-field-size",
            "The longest header field, in bytes; a longer one gets 431. 0: no limit."),
        Setting("limit_request_body", 0, k.LARGE_COUNT, "--limit-request-body",
            "The largest request body, in bytes; a larger one gets 413. 0: no limit. Not in gunicorn."),
        Setting("limit_connections", 0, k.COUNT, "--limit-connections",
            "The largest number of open connections per worker, idle ones included. At the limit, each new "
            "connection closes the one that has been idle longest; if none is idle, new ones wait. 0: as many as "
            "there may be file descriptors."),
        Setting("limit_connections_per_address", 0, k.COUNT, "--limit-connections-per-address",
            "The largest number of open connections per worker from one address; further ones are closed at once. 0: "
            "no limit. Do not use it behind a proxy, whose connections all have the same address."),
    ),
    "HTTP/2": (
        Setting("http_protocols", ["h1"], k.PROTOCOLS, "--http-protocols",
            "The protocols to offer, preferred first: h1, h2.", _YET),
        Setting("http2_cleartext", "off", _CLEARTEXT, "--http2-cleartext",
            "How HTTP/2 may begin without TLS.", _YET),
        Setting("http2_max_concurrent_streams", 100, k.whole(1), "--http2-max-concurrent-streams",
            "The largest number of streams in one connection.", _YET),
        Setting("http2_initial_window_size", 65535, k.whole(0, 2**31 - 1), "--http2-initial-window-size",
            "The flow control window of a new stream, in bytes.", _YET),
        Setting("http2_max_frame_size", 16384, k.whole(16384, 2**24 - 1), "--http2-max-frame-size",
            "The largest frame that is accepted, in bytes.", _YET),
        Setting("http2_max_header_list_size", 65536, k.COUNT, "--http2-max-header-list-size",
            "The largest header list that is accepted, in bytes.", _YET),
    ),
    "Debugging": (
        Setting("debug", False, k.SWITCH, "--debug",
            "Show tracebacks in error pages, and log at level debug unless loglevel is set. Not for a server that "
            "others can reach. Not in today's gunicorn."),
        Setting("reload", False, k.SWITCH, "--reload",
            "Reload, as HUP does, when a source file of the application or the configuration file changes. If code "
            "cannot be loaded, the error is logged and the old code serves. For development; preload_app has no "
            "effect."),
        Setting("reload_engine", "auto", k.one_of("auto", "poll", "inotify"), "--reload-engine",
            "How changed files are noticed: by inotify (Linux), by checking each file once a second (poll), or by "
            "inotify if there is one (auto). Files on network and host shares may need poll."),
        Setting("reload_extra_files", [], k.STRINGS, "--reload-extra-file",
            "An additional file, directory or pattern (templates/**/*.html) that reload watches."),
        Setting("spew", False, k.SWITCH, "--spew",
            "Print every line that Python executes.", "here: use python -m trace"),
        Setting("check_config", False, k.SWITCH, "--check-config",
            "Read the configuration, load the application, and exit: 0 if a server could start. Warns of libraries "
            "that block under gevent, and of settings that contradict each other."),
        Setting("strict", False, k.SWITCH, "--strict",
            "With check_config, exit with status 1 if there are warnings."),
        Setting("print_config", False, k.SWITCH, "--print-config",
            "Print the value and the source of each setting, and exit."),
    ),
    "Logging": (
        Setting("accesslog", None, k.PATH, "--access-logfile",
            "The file of the access log; - is stdout. Off by default."),
        Setting("disable_redirect_access_to_syslog", False, k.SWITCH, "--disable-redirect-access-to-syslog",
            "With syslog on, keep the access log out of it."),
        Setting("access_log_format", _ACCESS_FORMAT, k.ACCESS_FORMAT, "--access-logformat",
            "The format of a line of the access log, with gunicorn's atoms; or the word json, for one JSON object per "
            "line."),
        Setting("access_log_skip", [], k.SKIPPED, "--access-log-skip",
            "Which requests the access log leaves out: a list of statuses (404), classes of statuses (2xx) and "
            "patterns of paths (/static/*, without the query). Metrics count them."),
        Setting("errorlog", "-", k.PATH, "--error-logfile, --log-file",
            "The file of the error log; - is stderr."),
        Setting("error_log_format", "text", k.one_of("text", "json"), "--error-log-format",
            "The form of the error log: lines of text, or json, one JSON object per line."),
        Setting("request_id_header", None, k.FIELD_NAME, "--request-id-header",
            "The field that carries each request's identity, such as X-Request-Id. A peer in forwarded_allow_ips names "
            "it; any other request gets a new one. It is in the environ, in the response and in both logs."),
        Setting("loglevel", "info", _LEVELS, "--log-level",
            "The lowest level of the error log: debug, info, warning, error or critical."),
        Setting("capture_output", False, k.SWITCH, "--capture-output",
            "Send stdout and stderr to the file of the error log."),
        Setting("logger_class", k.LOGGER_CLASS, k.LOGGER, "--logger-class",
            "The logger's class, or MODULE:CLASS, with the methods of gunicorn.glogging.Logger; that name itself "
            "means geventwsgi's own class."),
        Setting("logconfig", None, k.PATH, "--log-config",
            "A file in the format of logging.config.fileConfig."),
        Setting("logconfig_dict", {}, k.DICTIONARY, "",
            "A dictionary for logging.config.dictConfig; overrides logconfig_json and logconfig."),
        Setting("logconfig_json", None, k.PATH, "--log-config-json",
            "A JSON file for logging.config.dictConfig; overrides logconfig."),
        Setting("syslog_addr", _SYSLOG_ADDRESS, k.SYSLOG, "--log-syslog-to",
            "The address of syslog: udp://HOST:PORT, tcp://HOST:PORT, or unix://PATH, with #stream or #dgram at its "
            "end to choose the kind of socket. On macOS and the BSDs the default is the system's own socket.", shown="'udp://localhost:514'"),
        Setting("syslog", False, k.SWITCH, "--log-syslog",
            "Send the logs to syslog too."),
        Setting("syslog_prefix", None, k.TEXT, "--log-syslog-prefix",
            "The name in syslog's messages; the process name by default."),
        Setting("syslog_facility", "user", _FACILITIES, "--log-syslog-facility",
            "The syslog facility of the messages."),
        Setting("enable_stdio_inheritance", False, k.SWITCH, "-R, --enable-stdio-inheritance",
            "Keep stdout and stderr when running as a daemon, unless they are terminals."),
        Setting("statsd_host", None, k.STATSD, "--statsd-host",
            "A statsd server to send metrics to: HOST:PORT or unix://PATH."),
        Setting("dogstatsd_tags", "", k.TEXT, "--dogstatsd-tags",
            "Tags for each metric, comma-separated, in DogStatsD's format."),
        Setting("statsd_prefix", "", k.TEXT, "--statsd-prefix",
            "The beginning of each metric's name; a dot is added."),
        Setting("enable_backlog_metric", False, k.SWITCH, "--enable-backlog-metric",
            "Send the number of connections that wait to be accepted, on systems that report it."),
    ),
    "Process Naming": (
        Setting("proc_name", None, k.TEXT, "-n, --name",
            "The name that ps and top show, if setproctitle is installed: pip install geventwsgi[setproctitle]."),
        Setting("default_proc_name", "gwsgi", k.TEXT, "",
            "The process name if proc_name is not set; an application on the command line replaces it."),
    ),
    "SSL": (
        Setting("keyfile", None, k.PATH, "--keyfile",
            "The file of the private key, if certfile does not contain the key too."),
        Setting("certfile", None, k.PATH, "--certfile",
            "The file of the certificate, with the chain; it turns TLS on."),
        Setting("ssl_version", "TLS", k.TLS_VERSION, "--ssl-version",
            "TLS (1.2 or newer), TLSv1_2 (only that) or TLSv1_3 (that or newer). Older versions may be written, but "
            "are not offered."),
        Setting("cert_reqs", 0, k.CERT_REQS, "--cert-reqs",
            "Whether clients must send a certificate: 0 no, 1 optional, 2 required; also the ssl.CERT_ constants."),
        Setting("ca_certs", None, k.PATH, "--ca-certs",
            "The file of the certificate authorities that may sign clients' certificates."),
        Setting("suppress_ragged_eofs", True, k.SWITCH, "--suppress-ragged-eofs",
            "Treat a connection that ends without TLS's closing message as ended, not as failed."),
        Setting("do_handshake_on_connect", False, k.SWITCH, "--do-handshake-on-connect",
            "Accepted for old files: the handshake always comes first, within handshake_timeout, and blocks no other "
            "connection."),
        Setting("ciphers", None, k.TEXT, "--ciphers",
            "The cipher suites for TLS 1.2, as an OpenSSL cipher list."),
    ),
    "Server Hooks": (
        _hook("on_starting", "server", "Called in the master before it binds."),
        _hook("on_reload", "server", "Called in the master when it reloads, before new workers start."),
        _hook("when_ready", "server", "Called in the master once it listens."),
        _hook("pre_fork", "server, worker", "Called in the master before each fork."),
        _hook("post_fork", "server, worker", "Called in each worker after the fork."),
        _hook("post_worker_init", "worker", "Called in a worker once its application is loaded."),
        _hook("worker_int", "worker", "Called in a worker that receives INT or QUIT."),
        _hook("worker_abort", "worker",
            "Called in a worker that receives ABRT, which the master sends when the worker's heartbeat stops."),
        _hook("pre_exec", "server", "Called in the master before it executes a new program (USR2)."),
        _hook("pre_request", "worker, req", "Called in a worker before each request."),
        _hook("post_request", "worker, req, environ, resp",
            "Called in a worker after each request; a function of two or three arguments gets the first ones.",
            shorter=(3, 2)),
        _hook("child_exit", "server, worker", "Called in the master after a worker has ended."),
        _hook("worker_exit", "server, worker", "Called in a worker before it ends."),
        _hook("nworkers_changed", "server, new_value, old_value",
            "Called in the master after the number of workers has changed; old_value is None at the start."),
        _hook("on_exit", "server", "Called in the master before it exits."),
        Setting("ssl_context", k.default_ssl_context, k.hook("config, default_ssl_context_factory"), "",
            "Called to make the ssl.SSLContext: return the factory's context, changed or not, or another one."),
    ),
    "Server Mechanics": (
        Setting("preload_app", False, k.SWITCH, "--preload",
            "Load the application in the master, before it forks: workers share its memory, and a reload keeps its "
            "code. Threads that it starts then run in the master only."),
        Setting("sendfile", True, k.SWITCH_OFF, "--no-sendfile",
            "Send files with the system's sendfile.", variable="SENDFILE"),
        Setting("reuse_port", False, k.SWITCH, "--reuse-port",
            "Give each worker its own socket at each TCP address; the system spreads connections over these sockets. "
            "The master owns them and passes each to the worker's successor, so no reload loses a connection. Cannot "
            "be changed by a reload."),
        Setting("chdir", ".", k.DIRECTORY, "--chdir",
            "The directory to change to before the application is loaded; modules are imported from there."),
        Setting("daemon", False, k.SWITCH, "-D, --daemon",
            "Run in the background. The command returns when the server serves, or fails with its message and status."),
        Setting("raw_env", [], k.ASSIGNMENTS, "-e, --env",
            "An environment variable for the application, as NAME=VALUE; repeat the flag for several."),
        Setting("pidfile", None, k.PATH, "-p, --pid",
            "The file with the master's process id while it runs."),
        Setting("worker_tmp_dir", None, k.DIRECTORY, "--worker-tmp-dir",
            "The directory of gunicorn's heartbeat files.", _MEMORY),
        Setting("user", _UID, k.USER, "-u, --user",
            "The user that workers run as, by name or number; the master keeps its user, which must then be root. "
            "Log files and unix sockets get this user as their owner.", shown="os.geteuid()"),
        Setting("group", _GID, k.GROUP, "-g, --group",
            "The group that workers run as, by name or number; set it too if you set user.",
            shown="os.getegid()"),
        Setting("umask", 0, k.MODE, "-m, --umask",
            "The permission bits that are removed from new files of the server and the application. If it is not "
            "set, unix sockets are open to everybody, and other files follow the umask with which the process was "
            "started."),
        Setting("initgroups", False, k.SWITCH, "--initgroups",
            "Give workers the other groups of their user; otherwise they have none."),
        Setting("tmp_upload_dir", None, k.DIRECTORY, "",
            "The directory of temporary files for request bodies.", _MEMORY),
        Setting("secure_scheme_headers", _SCHEME_HEADERS, k.HEADER_VALUES, "",
            "Request headers, with their values, by which a trusted proxy reports that its client uses https."),
        Setting("server_header", "geventwsgi", k.FIELD_TEXT, "--server-header",
            "The Server field of responses, unless the application sets one; none (or an empty text) removes it. If "
            "a configuration file sets gunicorn.SERVER, that is the default. Not in gunicorn."),
        Setting("forwarded_allow_ips", _LOCAL, k.NETWORKS, "--forwarded-allow-ips",
            "The addresses and networks of proxies whose forwarding headers are trusted, comma-separated; * means "
            "all. The peer at a unix socket is always trusted.", variable="FORWARDED_ALLOW_IPS"),
        Setting("remote_addr_from_forwarded", "off", _FORWARDED, "--remote-addr-from-forwarded",
            "The field with which proxies of forwarded_allow_ips send the client's address, which then becomes "
            "REMOTE_ADDR: off, x-forwarded-for, or forwarded (RFC 7239). It is read from its end, and only addresses "
            "of such proxies are skipped (with * none is: the last address is the client's). Not in gunicorn."),
        Setting("pythonpath", [], k.DIRECTORIES, "--pythonpath",
            "Directories, comma-separated, in which modules are searched first."),
        Setting("paste", None, k.PATH, "--paste, --paster",
            "A PasteDeploy file from which the application is loaded; #NAME at its end chooses another one than "
            "main. The file's logging configuration is used unless a logconfig is set."),
        Setting("proxy_protocol", "off", _PROXY, "--proxy-protocol",
            "Whether each connection begins with a PROXY header, in which a proxy sends the client's address: off, "
            "v1, v2, or auto for either version. A connection is closed if its header is missing, malformed, or not "
            "complete within handshake_timeout."),
        Setting("proxy_allow_ips", _LOCAL, k.NETWORKS, "--proxy-allow-from",
            "The addresses and networks of proxies that send PROXY headers, comma-separated; * means all. With "
            "proxy_protocol, connections from other addresses are closed. The peer at a unix socket is always "
            "allowed."),
        Setting("protocol", "http", k.TEXT, "--protocol",
            "The clients' protocol: http or uwsgi.", _UWSGI),
        Setting("uwsgi_allow_ips", _LOCAL, k.NETWORKS, "--uwsgi-allow-from",
            "The proxies that may speak uwsgi.", _UWSGI),
        Setting("raw_paste_global_conf", [], k.ASSIGNMENTS, "--paste-global",
            "A variable for the PasteDeploy file, as NAME=VALUE."),
        Setting("permit_obsolete_folding", False, k.SWITCH, "--permit-obsolete-folding",
            "Accept a header that continues in a line that starts with whitespace, and join the lines with a space. "
            "A proxy that reads such a line as another header, or ignores it, gets another request than the "
            "application (request smuggling)."),
        Setting("strip_header_spaces", False, k.SWITCH, "--strip-header-spaces",
            "Accept whitespace between a header's name and its colon, and ignore it. A proxy that reads "
            "'Content-Length :' as an unknown header sees another end of the body than the application (request "
            "smuggling)."),
        Setting("permit_unconventional_http_method", False, k.SWITCH, "--permit-unconventional-http-method",
            "Accept any method that is a token; otherwise a method in lower case, with a #, or not of 3 to 20 "
            "characters gets 501. Rules of a proxy or an application for a method (GET) may miss a spelling (get) "
            "that others treat as the same."),
        Setting("permit_unconventional_http_version", False, k.SWITCH, "--permit-unconventional-http-version",
            "Serve other versions than 1.0 and 1.1, which otherwise get 505: later ones as 1.1, earlier ones as 1.0. "
            "What such a client expects of keep-alive and framing is then a guess."),
        Setting("casefold_http_method", False, k.SWITCH, "--casefold-http-method",
            "Turn methods into upper case; methods in lower case also need permit_unconventional_http_method. A "
            "filter in front that forbids GET but passes get is bypassed."),
        Setting("forwarder_headers", ["SCRIPT_NAME", "PATH_INFO"], k.NAMES, "--forwarder-headers",
            "Headers that a trusted proxy may set although their names have underscores; SCRIPT_NAME among "
            "them also sets the environ's key of that name."),
        Setting("header_map", "drop", k.one_of("drop", "refuse", "dangerous"), "--header-map",
            "The treatment of header names with underscores, which an application cannot distinguish from dashes: "
            "drop them, refuse the request, or (dangerous) pass them on."),
        Setting("root_path", "", k.TEXT, "--root-path",
            "The root_path of ASGI applications.", _WSGI),
    ),
    "Dirty Arbiters": (
        Setting("dirty_apps", [], k.STRINGS, "--dirty-app",
            "Applications of dirty workers.", _DIRTY),
        Setting("dirty_workers", 0, k.COUNT, "--dirty-workers",
            "The number of dirty workers.", _DIRTY),
        Setting("dirty_timeout", 300, k.SECONDS, "--dirty-timeout",
            "Seconds that a dirty task may take.", _DIRTY),
        Setting("dirty_threads", 1, k.COUNT, "--dirty-threads",
            "Threads per dirty worker.", _DIRTY),
        Setting("dirty_graceful_timeout", 30, k.SECONDS, "--dirty-graceful-timeout",
            "Seconds that dirty workers have to stop.", _DIRTY),
    ),
    "Dirty Arbiter Hooks": (
        _hook("on_dirty_starting", "arbiter", "Called before a dirty arbiter starts.", _DIRTY),
        _hook("dirty_post_fork", "arbiter, worker", "Called in a dirty worker after the fork.", _DIRTY),
        _hook("dirty_worker_init", "worker", "Called in a dirty worker once its applications are loaded.", _DIRTY),
        _hook("dirty_worker_exit", "arbiter, worker", "Called when a dirty worker ends.", _DIRTY),
    ),
    "Control": (
        Setting("admin_bind", None, k.OWN_ADDRESS, "--admin-bind",
            "An address, HOST:PORT or unix:PATH, at which one extra process answers what the server does: a live page, "
            "/status and /metrics. Nothing can be changed there, and nobody is asked for a password: bind to 127.0.0.1 "
            "or to a unix socket, which user and group of the workers may use. Not in gunicorn."),
        Setting("metrics_buckets", _BUCKETS, k.BUCKETS, "--metrics-buckets",
            "The upper bounds of the buckets in the histograms of /metrics, in seconds and ascending, comma-separated. "
            "A reload does not change them. Not in gunicorn."),
        Setting("control_socket", "~/.gunicorn/gunicorn.ctl", k.PATH, "--control-socket",
            "The path of a unix socket by which the commands gwsgi status, top, stacks, reload, reopen, stop and "
            "workers reach the server. It has none unless this is set; the commands look at the default."),
        Setting("control_socket_mode", 0o600, k.MODE, "--control-socket-mode",
            "The permission bits of the control socket."),
        Setting("control_socket_disable", False, k.SWITCH, "--no-control-socket",
            "Do without the control socket, although control_socket is set."),
    ),
}
# fmt: on

SETTINGS = tuple(Setting(*setting[:-1], title) for title, group in _TABLE.items() for setting in group)
BY_NAME: Mapping[str, Setting] = MappingProxyType({setting.name: setting for setting in SETTINGS})


def nearest_setting(word: str, cutoff: float = 0.6) -> str | None:
    """Return the setting with an effect whose name, or whose flag written as a name, is most like `word`."""
    useful = [setting for setting in SETTINGS if setting.effective]
    spellings = {flag[2:].replace("-", "_"): setting.name for setting in useful for flag in setting.flags}
    spellings.update({setting.name: setting.name for setting in useful})
    found = nearest(word.lower(), spellings, cutoff)
    return spellings[found] if found else None
