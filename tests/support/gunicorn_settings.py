"""gunicorn 27's settings: name, flags, default.

A hook's default is its signature; ``-`` stands for no flag, or for a default that depends on the machine.
"""

from __future__ import annotations

GUNICORN = r"""
config | -c --config | './gunicorn.conf.py'
wsgi_app | - | None
control_socket | --control-socket | '~/.gunicorn/gunicorn.ctl'
control_socket_mode | --control-socket-mode | 384
control_socket_disable | --no-control-socket | False
reload | --reload | False
reload_engine | --reload-engine | 'auto'
reload_extra_files | --reload-extra-file | []
spew | --spew | False
check_config | --check-config | False
print_config | --print-config | False
on_dirty_starting | - | 'hook(arbiter)'
dirty_post_fork | - | 'hook(arbiter, worker)'
dirty_worker_init | - | 'hook(worker)'
dirty_worker_exit | - | 'hook(arbiter, worker)'
dirty_apps | --dirty-app | []
dirty_workers | --dirty-workers | 0
dirty_timeout | --dirty-timeout | 300
dirty_threads | --dirty-threads | 1
dirty_graceful_timeout | --dirty-graceful-timeout | 30
http_protocols | --http-protocols | 'h1'
http2_cleartext | --http2-cleartext | 'off'
http2_max_concurrent_streams | --http2-max-concurrent-streams | 100
http2_initial_window_size | --http2-initial-window-size | 65535
http2_max_frame_size | --http2-max-frame-size | 16384
http2_max_header_list_size | --http2-max-header-list-size | 65536
accesslog | --access-logfile | None
disable_redirect_access_to_syslog | --disable-redirect-access-to-syslog | False
access_log_format | --access-logformat | '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
errorlog | --error-logfile --log-file | '-'
loglevel | --log-level | 'info'
capture_output | --capture-output | False
logger_class | --logger-class | 'gunicorn.glogging.Logger'
logconfig | --log-config | None
logconfig_dict | - | {}
logconfig_json | --log-config-json | None
syslog_addr | --log-syslog-to | 'udp://localhost:514'
syslog | --log-syslog | False
syslog_prefix | --log-syslog-prefix | None
syslog_facility | --log-syslog-facility | 'user'
enable_stdio_inheritance | -R --enable-stdio-inheritance | False
statsd_host | --statsd-host | None
dogstatsd_tags | --dogstatsd-tags | ''
statsd_prefix | --statsd-prefix | ''
enable_backlog_metric | --enable-backlog-metric | False
proc_name | -n --name | None
default_proc_name | - | 'gunicorn'
keyfile | --keyfile | None
certfile | --certfile | None
ssl_version | --ssl-version | 2
cert_reqs | --cert-reqs | 0
ca_certs | --ca-certs | None
suppress_ragged_eofs | --suppress-ragged-eofs | True
do_handshake_on_connect | --do-handshake-on-connect | False
ciphers | --ciphers | None
limit_request_line | --limit-request-line | 4094
limit_request_fields | --limit-request-fields | 100
limit_request_field_size | --limit-request-field_size | 8190
on_starting | - | 'hook(server)'
on_reload | - | 'hook(server)'
when_ready | - | 'hook(server)'
pre_fork | - | 'hook(server, worker)'
post_fork | - | 'hook(server, worker)'
post_worker_init | - | 'hook(worker)'
worker_int | - | 'hook(worker)'
worker_abort | - | 'hook(worker)'
pre_exec | - | 'hook(server)'
pre_request | - | 'hook(worker, req)'
post_request | - | 'hook(worker, req, environ, resp)'
child_exit | - | 'hook(server, worker)'
worker_exit | - | 'hook(server, worker)'
nworkers_changed | - | 'hook(server, new_value, old_value)'
on_exit | - | 'hook(server)'
ssl_context | - | 'hook(config, default_ssl_context_factory)'
preload_app | --preload | False
sendfile | --no-sendfile | None
reuse_port | --reuse-port | False
chdir | --chdir | '.'
daemon | -D --daemon | False
raw_env | -e --env | []
pidfile | -p --pid | None
worker_tmp_dir | --worker-tmp-dir | None
user | -u --user | -
group | -g --group | -
umask | -m --umask | 0
initgroups | --initgroups | False
tmp_upload_dir | - | None
secure_scheme_headers | - | {'X-FORWARDED-PROTOCOL': 'ssl', 'X-FORWARDED-PROTO': 'https', 'X-FORWARDED-SSL': 'on'}
forwarded_allow_ips | --forwarded-allow-ips | '127.0.0.1,::1'
pythonpath | --pythonpath | None
paste | --paste --paster | None
proxy_protocol | --proxy-protocol | 'off'
proxy_allow_ips | --proxy-allow-from | '127.0.0.1,::1'
protocol | --protocol | 'http'
uwsgi_allow_ips | --uwsgi-allow-from | '127.0.0.1,::1'
raw_paste_global_conf | --paste-global | []
permit_obsolete_folding | --permit-obsolete-folding | False
strip_header_spaces | --strip-header-spaces | False
permit_unconventional_http_method | --permit-unconventional-http-method | False
permit_unconventional_http_version | --permit-unconventional-http-version | False
casefold_http_method | --casefold-http-method | False
forwarder_headers | --forwarder-headers | 'SCRIPT_NAME,PATH_INFO'
header_map | --header-map | 'drop'
root_path | --root-path | ''
bind | -b --bind | ['127.0.0.1:8000']
backlog | --backlog | 2048
workers | -w --workers | 1
worker_class | -k --worker-class | 'sync'
threads | --threads | 1
worker_connections | --worker-connections | 1000
max_requests | --max-requests | 0
max_requests_jitter | --max-requests-jitter | 0
timeout | -t --timeout | 30
graceful_timeout | --graceful-timeout | 30
keepalive | --keep-alive | 2
asgi_loop | --asgi-loop | 'auto'
asgi_lifespan | --asgi-lifespan | 'auto'
asgi_disconnect_grace_period | --asgi-disconnect-grace-period | 3
websocket_max_message_size | --websocket-max-message-size | 16777216
http_parser | --http-parser | 'auto'
"""

#: name -> (flags, default as text)
GUNICORN_SETTINGS = {
    name: (() if flags == "-" else tuple(flags.split()), default)
    for name, flags, default in (row.split(" | ", 2) for row in GUNICORN.strip().splitlines())
}
