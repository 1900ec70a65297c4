from __future__ import annotations

import ipaddress
import os
import pickle
import shlex
import sys
from textwrap import dedent

import pytest

from geventwsgi.config import kinds
from geventwsgi.config.addresses import FdAddress, TCPAddress, UnixAddress
from geventwsgi.config.flags import CommandLine, read_flags
from geventwsgi.config.settings import BY_NAME, SETTINGS
from geventwsgi.config.sources import Config, load
from geventwsgi.errors import ConfigError


class Logger:
    pass


def hook(*arguments):
    return arguments


#: A value for each setting that differs from its default: as a flag has it (None: as a flag without a value), as a file
#: has it (text: the same as the flag), and parsed (left out: as the file has it).
GIVEN = {
    "config": ("gunicorn.conf.py",),
    "wsgi_app": ("app:app",),
    "bind": ("localhost:80", ["localhost:80"]),
    "admin_bind": ("localhost:9100",),
    "metrics_buckets": ("0.1, 1,10", [0.1, 1.0, 10.0]),
    "backlog": ("64", 64),
    "workers": ("3", 3),
    "worker_class": ("my:Worker",),
    "threads": ("2", 2),
    "worker_connections": ("10", 10),
    "max_requests": ("10", 10),
    "max_requests_jitter": ("10", 10),
    "timeout": ("0.5", 0.5),
    "graceful_timeout": ("5", 5),
    "stall_threshold": ("0.1", 0.1),
    "slow_request_threshold": ("2.5", 2.5),
    "max_worker_memory": ("512M", 512 << 20),
    "max_worker_age": ("60", 60),
    "reload_surge": ("25%", "25%"),
    "drain_on_shutdown": (None, False),
    "keepalive": ("5", 5),
    "drain_delay": ("5", 5),
    "drain_rate": ("500", 500),
    "handover": (None, False),
    "health_path": ("/healthz",),
    "server_header": ("hidden",),
    "remote_addr_from_forwarded": ("forwarded",),
    "asgi_loop": ("uvloop",),
    "asgi_lifespan": ("off",),
    "asgi_disconnect_grace_period": ("5", 5),
    "wsgi_websocket": (None, True),
    "websocket_max_message_size": ("10", 10),
    "websocket_ping_interval": ("0.5", 0.5),
    "websocket_ping_timeout": ("5", 5),
    "http_parser": ("python",),
    "limit_request_line": ("0", 0),
    "limit_request_fields": ("10", 10),
    "limit_request_field_size": ("10", 10),
    "limit_request_body": ("10", 10),
    "limit_connections": ("10", 10),
    "limit_connections_per_address": ("10", 10),
    "handshake_timeout": ("2.5", 2.5),
    "first_byte_timeout": ("2.5", 2.5),
    "header_timeout": ("2.5", 2.5),
    "body_min_rate": ("10", 10),
    "body_grace": ("2.5", 2.5),
    "write_timeout": ("2.5", 2.5),
    "linger_timeout": ("2.5", 2.5),
    "write_min_rate": ("10", 10),
    "request_timeout": ("2.5", 2.5),
    "queue_timeout": ("2.5", 2.5),
    "limit_request_queue": ("10", 10),
    "accept_balance": ("off",),
    "affinity": ("query:sid",),
    "on_disconnect": ("cancel",),
    "half_close": ("gone",),
    "greenlet_per_request": (None, True),
    "http_protocols": ("h2,h1", "h2,h1", ["h2", "h1"]),
    "http2_cleartext": ("both",),
    "http2_max_concurrent_streams": ("10", 10),
    "http2_initial_window_size": ("10", 10),
    "http2_max_frame_size": ("20000", 20000),
    "http2_max_header_list_size": ("10", 10),
    "debug": (None, True),
    "reload": (None, True),
    "reload_engine": ("poll",),
    "reload_extra_files": ("x.html", ["x.html"]),
    "spew": (None, True),
    "strict": (None, True),
    "check_config": (None, True),
    "print_config": (None, True),
    "accesslog": ("-",),
    "access_log_skip": ("/static/*,404", ["/static/*", "404"]),
    "error_log_format": ("json",),
    "request_id_header": ("X-Request-Id",),
    "disable_redirect_access_to_syslog": (None, True),
    "access_log_format": ("%(r)s %(D)s",),
    "errorlog": ("/x/error.log",),
    "loglevel": ("warning",),
    "capture_output": (None, True),
    "logger_class": ("my.log:Logger",),
    "logconfig": ("log.ini",),
    "logconfig_dict": ("", {"version": 1}),
    "logconfig_json": ("log.json",),
    "syslog_addr": ("tcp://logs:514",),
    "syslog": (None, True),
    "syslog_prefix": ("x",),
    "syslog_facility": ("local3",),
    "enable_stdio_inheritance": (None, True),
    "statsd_host": ("stats:8125", "stats:8125", ("stats", 8125)),
    "dogstatsd_tags": ("a:b",),
    "statsd_prefix": ("x",),
    "enable_backlog_metric": (None, True),
    "proc_name": ("x",),
    "default_proc_name": ("x",),
    "keyfile": ("x.key",),
    "certfile": ("x.pem",),
    "ssl_version": ("TLSv1_3",),
    "cert_reqs": ("2", 2),
    "ca_certs": ("ca.pem",),
    "suppress_ragged_eofs": (None, True),
    "do_handshake_on_connect": (None, True),
    "ciphers": ("HIGH",),
    "preload_app": (None, True),
    "sendfile": (None, False),
    "reuse_port": (None, True),
    "chdir": ("/srv",),
    "daemon": (None, True),
    "raw_env": ("A=1", ["A=1"]),
    "pidfile": ("x.pid",),
    "worker_tmp_dir": ("/dev/shm",),
    "user": ("12", 12),
    "group": ("12", 12),
    "umask": ("027", 0o27),
    "initgroups": (None, True),
    "tmp_upload_dir": ("/x",),
    "secure_scheme_headers": ("", {"X-SCHEME": "https"}),
    "forwarded_allow_ips": ("10.0.0.0/8", "10.0.0.0/8", ["10.0.0.0/8"]),
    "pythonpath": ("/lib", "/lib", ["/lib"]),
    "paste": ("/dev/null",),
    "proxy_protocol": (None, True, "auto"),
    "proxy_allow_ips": ("*", "*", ["*"]),
    "protocol": ("uwsgi",),
    "uwsgi_allow_ips": ("*", "*", ["*"]),
    "raw_paste_global_conf": ("A=1", ["A=1"]),
    "permit_obsolete_folding": (None, True),
    "strip_header_spaces": (None, True),
    "permit_unconventional_http_method": (None, True),
    "permit_unconventional_http_version": (None, True),
    "casefold_http_method": (None, True),
    "forwarder_headers": ("REMOTE_USER", "REMOTE_USER", ["REMOTE_USER"]),
    "header_map": ("refuse",),
    "root_path": ("/x",),
    "dirty_apps": ("x:y", ["x:y"]),
    "dirty_workers": ("2", 2),
    "dirty_timeout": ("2", 2),
    "dirty_threads": ("2", 2),
    "dirty_graceful_timeout": ("2", 2),
    "control_socket": ("/x.ctl",),
    "control_socket_mode": ("0640", 0o640),
    "control_socket_disable": (None, True),
    **{setting.name: ("", hook) for setting in SETTINGS if callable(setting.default)},
}


@pytest.fixture
def load_here(tmp_path, monkeypatch):
    """Load from a directory of its own: ``load_here(*flags, file=text, **environ)``."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def load_here(*flags, file=None, name="gwsgi.conf.py", **environ):
        if file is not None:
            (tmp_path / name).write_text(dedent(file))
        return load(read_flags(flags), environ, str(tmp_path))

    return load_here


def test_the_table_above_names_every_setting():
    assert set(GIVEN) == set(BY_NAME)


@pytest.mark.parametrize(
    "setting", [setting for setting in SETTINGS if setting.flags], ids=lambda setting: setting.name
)
def test_every_setting_with_a_flag_is_read_from_it_and_from_the_variable(setting, load_here):
    flag, *rest = GIVEN[setting.name]
    expected = rest[-1] if rest else flag
    for spelling in setting.flags:
        arguments = [spelling, *([] if flag is None else [flag])]
        if setting.name == "config":
            load_here(file="", name=flag)
        cfg = load_here(*arguments)
        assert cfg.values[setting.name] == expected
        assert cfg.source(setting.name) == f"flag {setting.long_flag}"
        cfg = load_here(GWSGI_CMD_ARGS=shlex.join(arguments))
        assert cfg.values[setting.name] == expected
        assert cfg.source(setting.name) == "environment GWSGI_CMD_ARGS"


@pytest.mark.parametrize("setting", SETTINGS[1:], ids=lambda setting: setting.name)
def test_every_setting_is_read_from_a_file_and_from_keywords(setting, load_here):
    flag, *rest = GIVEN[setting.name]
    given, expected = (rest[0], rest[-1]) if rest else (flag, flag)
    text = "def {name}(*arguments): pass" if callable(given) else "{name} = {given!r}"
    cfg = load_here(file="\n" + text.format(name=setting.name, given=given))
    assert cfg.source(setting.name) == "gwsgi.conf.py:2"
    assert callable(given) or cfg.values[setting.name] == expected
    assert Config.of(**{setting.name: given}).values[setting.name] == expected


#: Of settings that work, but hardly as the operator wants, where nothing else is set.
ALONE = {
    "daemon": ["argument: the error log of a daemon is lost: set errorlog"],
    "user": ["argument: workers of that user keep root's group: set group too"] if os.getegid() == 0 else [],
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_without_effect_warns_once_and_another_never(setting):
    flag, *rest = GIVEN[setting.name]
    cfg = Config.of(**{setting.name: rest[0] if rest else flag})
    warnings = (
        ALONE.get(setting.name, [])
        if setting.effective
        else [f"argument: {setting.name} has no effect {setting.no_effect}"]
    )
    assert list(cfg.warnings) == warnings


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_default_that_is_written_out_warns_of_nothing(setting):
    assert Config.of(**{setting.name: setting.default}).warnings == ()


def test_a_gunicorn_file_with_every_setting_loads(load_here):
    lines = []
    for name, (flag, *rest) in GIVEN.items():
        given = rest[0] if rest else flag
        lines.append(f"def {name}(*arguments): pass" if callable(given) else f"{name} = {given!r}")
    cfg = load_here(file="\n".join(lines).replace("'my:Worker'", "'gevent'"), name="gunicorn.conf.py")
    *without_effect, beside_reload = cfg.warnings
    assert len(without_effect) == sum(not setting.effective for setting in SETTINGS)
    assert beside_reload.endswith("preload_app has no effect together with reload: leave one of the two out")
    assert cfg.config == "gunicorn.conf.py"


def test_an_old_file_with_debug_loads(load_here):
    cfg = load_here(
        file="""\
            import os
            import multiprocessing
            bind = "127.0.0.1:8000"
            workers = multiprocessing.cpu_count() * 2 + 1
            backlog = 2048
            debug = True
            proc_name = 'gunicorn.pid'
            pidfile = '/var/log/gunicorn/debug.log'
            loglevel = 'debug'
        """
    )
    assert cfg.warnings == ()
    assert (cfg.debug, cfg.loglevel, cfg.source("loglevel")) == (True, "debug", "gwsgi.conf.py:9")
    assert (cfg.proc_name, cfg.pidfile) == ("gunicorn.pid", "/var/log/gunicorn/debug.log")
    assert cfg.workers >= 3


# --- precedence


def test_the_default_then_the_file_then_the_variable_then_the_flag(load_here):
    found = []
    for arguments in (
        {},
        {"file": "workers = 2"},
        {"GWSGI_CMD_ARGS": "-w 3"},
        {"flags": ["-w", "4"], "GWSGI_CMD_ARGS": "-w 3"},
    ):
        cfg = load_here(*arguments.pop("flags", ()), **arguments)
        found.append((cfg.workers, cfg.source("workers")))
    assert found == [
        (1, "default"),
        (2, "gwsgi.conf.py:1"),
        (3, "environment GWSGI_CMD_ARGS"),
        (4, "flag --workers"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("PORT", "5000", "bind", ["0.0.0.0:5000"]),
        ("WEB_CONCURRENCY", "4", "workers", 4),
        ("FORWARDED_ALLOW_IPS", "*", "forwarded_allow_ips", ["*"]),
        ("FORWARDED_ALLOW_IPS", "", "forwarded_allow_ips", []),
        ("SENDFILE", "no", "sendfile", False),
        ("SENDFILE", "1", "sendfile", True),
    ],
)
def test_a_variable_alters_a_default_and_nothing_else(load_here, variable, value, name, expected):
    cfg = load_here(**{variable: value})
    assert (cfg.values[name], cfg.source(name)) == (expected, f"environment {variable}")
    given = GIVEN[name][-1]
    assert load_here(file=f"{name} = {given!r}", **{variable: "wrong"}).values[name] in (given, [given])


@pytest.mark.parametrize("variable", ["PORT", "WEB_CONCURRENCY", "SENDFILE"])
def test_an_empty_variable_is_not_set(load_here, variable):
    assert load_here(**{variable: ""}).values["bind"] == ["127.0.0.1:8000"]


def test_none_in_a_file_or_a_keyword_leaves_the_default(load_here):
    cfg = load_here(file="workers = None\naccesslog = None\non_exit = None\nbind = None", PORT="5000")
    assert (cfg.workers, cfg.accesslog, cfg.bind) == (1, None, ["0.0.0.0:5000"])
    assert cfg.source("workers") == "default"
    assert Config.of(workers=None).workers == 1


def test_the_first_default_file_is_read_the_flag_and_the_variable_name_another(load_here):
    load_here(file="workers = 4", name="other.py")
    load_here(file="workers = 3", name="gunicorn.conf.py")
    assert load_here().workers == 3
    assert load_here(file="workers = 2").workers == 2
    assert load_here().config == "gwsgi.conf.py"
    assert load_here("-c", "other.py").workers == 4
    assert load_here("-c", "gunicorn.conf.py", GWSGI_CMD_ARGS="-c other.py").workers == 3
    assert load_here(GWSGI_CMD_ARGS="-c file:other.py").workers == 4


def test_the_application_of_the_command_line_goes_before_that_of_the_file(load_here):
    cfg = load_here("app:app", file="wsgi_app = 'other:app'")
    assert (cfg.wsgi_app, cfg.source("wsgi_app")) == ("app:app", "command line")
    assert load_here().wsgi_app == "other:app"


def test_the_process_name_is_the_applications_unless_one_is_set(load_here):
    assert load_here().proc_name == "gwsgi"
    assert load_here("app:app").proc_name == "app:app"
    assert load_here("app:app", file="default_proc_name = 'x'").proc_name == "x"
    assert load_here("app:app", "-n", "y").proc_name == "y"


def test_chdir_starts_from_the_directory_of_the_start(load_here, tmp_path):
    assert load_here().chdir == str(tmp_path)
    assert load_here("--chdir", "sub").chdir == str(tmp_path / "sub")
    assert load_here("--chdir", "/srv").chdir == "/srv"


def test_the_directory_of_the_start_is_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert load(CommandLine({}), {}).chdir == str(tmp_path)


def test_a_file_may_import_from_the_directory_of_the_start(load_here, tmp_path, monkeypatch):
    (tmp_path / "gwsgi_test_helper.py").write_text("cores = 5")
    assert load_here(file="from gwsgi_test_helper import cores\nworkers = cores").workers == 5
    monkeypatch.delitem(sys.modules, "gwsgi_test_helper")


# --- errors


WORKERS = "workers must be a whole number from 1 to 4096, or auto, not "


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"flags": ["-w", "x"]}, f"flag --workers: {WORKERS}'x'"),
        (
            {"flags": ["-k", "greenlets"]},
            "flag --worker-class: worker_class must be one of gevent, gevent_wsgi, gevent_pywsgi,",
        ),
        (
            {"flags": ["-k", "sync"]},
            "flag --worker-class: worker_class cannot be used: sync runs one request at a time, and here requests run",
        ),
        (
            {"file": "worker_class = 'uvicorn.workers.UvicornWorker'"},
            "gwsgi.conf.py:1: worker_class cannot be used: uvicorn.workers.UvicornWorker is a worker for ASGI applicat",
        ),
        ({"file": "paste = [1]"}, "gwsgi.conf.py:1: paste must be text, not [1]"),
        ({"flags": ["-b", "::1"]}, "flag --bind: bind needs brackets round an IPv6 address in '::1'; write [::1]:8000"),
        ({"flags": ["--wrokers"]}, "unknown flag --wrokers; did you mean --workers?"),
        ({"GWSGI_CMD_ARGS": "-w x"}, f"environment GWSGI_CMD_ARGS: {WORKERS}'x'"),
        ({"GWSGI_CMD_ARGS": "--wrk"}, "environment GWSGI_CMD_ARGS: unknown flag --wrk; did you mean --workers?"),
        ({"GWSGI_CMD_ARGS": "-w '"}, "environment GWSGI_CMD_ARGS: No closing quotation"),
        ({"WEB_CONCURRENCY": "x"}, f"environment WEB_CONCURRENCY: {WORKERS}'x'"),
        (
            {"PORT": "http"},
            "environment PORT: bind needs a port from 0 to 65535, which 'http' in '0.0.0.0:http' is not",
        ),
        ({"FORWARDED_ALLOW_IPS": "x"}, "environment FORWARDED_ALLOW_IPS: forwarded_allow_ips must list IP addresses"),
        ({"file": "\nworkers = 'many'"}, f"gwsgi.conf.py:2: {WORKERS}'many'"),
        (
            {"file": "def pre_fork(s): 0"},
            "gwsgi.conf.py:1: pre_fork must take (server, worker), but pre_fork takes (s)",
        ),
        ({"file": "when_ready = 3"}, "gwsgi.conf.py:1: when_ready must be a function that takes (server), not 3"),
        (
            {"file": "loglevel = 'x'"},
            "gwsgi.conf.py:1: loglevel must be one of debug, info, warning, error, critical, not 'x'",
        ),
        ({"file": "workers ="}, "gwsgi.conf.py:1: SyntaxError: invalid syntax"),
        ({"flags": ["-c", "nosuch.py"]}, "cannot read the configuration file 'nosuch.py': No such file or directory"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_source(load_here, arguments, line):
    with pytest.raises(ConfigError) as caught:
        load_here(*arguments.pop("flags", ()), **arguments)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"workers": 0}, "argument: workers must be a whole number from 1 to 4096, or auto, not 0"),
        ({"wrokers": 1}, "unknown setting 'wrokers'; did you mean 'workers'?"),
        ({"qqqq": 1}, "unknown setting 'qqqq'"),
    ],
)
def test_a_wrong_keyword_is_one_line(settings, line):
    with pytest.raises(ConfigError) as caught:
        Config.of(**settings)
    assert str(caught.value) == line


# --- warnings


def test_a_misspelt_name_in_the_file_is_a_warning(load_here):
    cfg = load_here(file="wrokers = 3\nthreads = 2")
    assert cfg.warnings == (
        "gwsgi.conf.py:1: unknown setting 'wrokers'; did you mean 'workers'?",
        "gwsgi.conf.py:2: threads has no effect here: a worker runs requests in greenlets, not in threads",
    )
    assert cfg.replace(workers=2).warnings == cfg.warnings


@pytest.mark.parametrize(
    ("bind", "exposed"),
    [
        (["127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/x", "fd://3"], None),
        ([":80", "127.0.0.1:80"], "0.0.0.0:80"),
        (["[::]:80", "example.org:80"], "[::]:80, example.org:80"),
    ],
)
def test_debug_beyond_loopback_is_a_warning(bind, exposed):
    text = f"argument: debug shows tracebacks to everybody who can reach {exposed}: turn it off, or bind to 127.0.0.1"
    assert Config.of(debug=True, bind=bind).warnings == ((text,) if exposed else ())
    assert Config.of(bind=bind).warnings == ()


def test_an_old_version_of_tls_is_a_warning():
    (warning,) = Config.of(ssl_version="TLSv1").warnings
    assert warning == "argument: ssl_version TLSv1 is not offered: TLS 1.2 or newer is used"


# --- the object


def test_debug_lowers_the_log_level_unless_that_is_set(load_here):
    cfg = load_here(file="debug = True")
    assert (cfg.loglevel, cfg.source("loglevel")) == ("debug", "debug, gwsgi.conf.py:1")
    assert load_here("--log-level", "error").loglevel == "error"
    assert Config.of(debug=True, loglevel="info").loglevel == "info"
    assert Config.of(debug=True).replace(workers=2).loglevel == "debug"


def test_the_defaults_are_those_of_the_table():
    cfg = Config()
    assert dict(cfg.values) == {setting.name: setting.default for setting in SETTINGS}
    assert list(cfg.values) == [setting.name for setting in SETTINGS]
    cfg.bind.append("x")
    assert Config().bind == ["127.0.0.1:8000"]


def test_it_does_not_change():
    cfg = Config()
    with pytest.raises(AttributeError, match="read-only: set workers in its source"):
        cfg.workers = 2
    with pytest.raises(AttributeError, match="is read-only"):
        del cfg.workers
    with pytest.raises(TypeError):
        cfg.values["workers"] = 2
    with pytest.raises(AttributeError, match="no setting is named 'wrokers'"):
        _ = cfg.wrokers


def test_it_can_be_pickled_and_shown():
    cfg = Config.of(workers=2, bind=":80")
    copy = pickle.loads(pickle.dumps(cfg))
    assert (copy.values, copy.source("workers"), copy.warnings) == (cfg.values, "argument", cfg.warnings)
    assert repr(cfg) == "Config(workers=2, bind=[':80'])"


def test_replaced_settings_are_checked_and_the_original_stays():
    cfg = Config.of(workers=2)
    assert cfg.replace(workers=3, backlog=5).values == Config.of(workers=3, backlog=5).values
    assert cfg.workers == 2
    with pytest.raises(ConfigError, match="argument: workers must be"):
        cfg.replace(workers="x")


def test_a_hook_that_nobody_set_is_none():
    cfg = Config.of(pre_request=hook)
    assert cfg.hook("pre_request") is hook
    assert cfg.hook("post_request") is None
    assert cfg.post_request(1, 2, 3, 4) is None


def test_what_gunicorns_configuration_derives():
    cfg = Config.of(bind=[":80", "unix:/x", "fd://3"], raw_env=["A=1", "B=x=y"], user=12, group=13)
    assert cfg.address == [TCPAddress("0.0.0.0", 80), UnixAddress("/x"), FdAddress(3)]
    assert cfg.env == {"A": "1", "B": "x=y"}
    assert (cfg.uid, cfg.gid) == (12, 13)
    assert cfg.worker_class_str == "gevent"
    assert Config.of(worker_class=Logger).worker_class_str == "Logger"


def test_a_certificate_or_a_key_turns_tls_on():
    assert not Config().is_ssl
    assert Config.of(certfile="x.pem").is_ssl
    assert Config.of(keyfile="x.key").is_ssl
    assert Config.of(certfile="x.pem").ssl_options == {
        "keyfile": None,
        "certfile": "x.pem",
        "ssl_version": "TLS",
        "cert_reqs": 0,
        "ca_certs": None,
        "suppress_ragged_eofs": True,
        "do_handshake_on_connect": False,
        "ciphers": None,
    }


def test_trusted_addresses_as_networks():
    cfg = Config.of(forwarded_allow_ips="10.0.0.0/8,*,::1", proxy_allow_ips="127.0.0.1")
    assert cfg.forwarded_allow_networks() == [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")]
    assert cfg.proxy_allow_networks() == [ipaddress.ip_network("127.0.0.1")]


def test_the_logger_class_is_loaded():
    assert Config.of(logger_class=Logger).logger_class is Logger
    assert Config.of(logger_class="logging.Logger").logger_class.__name__ == "Logger"
    assert Config.of(logger_class="gunicorn.glogging.Logger").values["logger_class"] == kinds.LOGGER_CLASS
    with pytest.raises(ConfigError, match="argument: logger_class must be a class, not <function"):
        _ = Config.of(logger_class="logging:getLogger").logger_class


# --- one source in place of another


def test_a_value_that_a_flag_overrides_may_be_wrong(load_here):
    cfg = load_here("-k", "gevent", file="worker_class = 'sync'")
    assert (cfg.worker_class, cfg.source("worker_class")) == ("gevent", "flag --worker-class")


def test_gunicorns_variable_is_obeyed_behind_ours(load_here):
    cfg = load_here(GUNICORN_CMD_ARGS="-w 3 --timeout 5", GWSGI_CMD_ARGS="-w 4", file="timeout = 6\nkeepalive = 7")
    assert (cfg.workers, cfg.timeout, cfg.keepalive) == (4, 5, 7)
    assert cfg.source("timeout") == "environment GUNICORN_CMD_ARGS"


def test_gunicorns_variable_may_name_the_file(load_here, tmp_path):
    (tmp_path / "other.py").write_text("workers = 5")
    assert load_here(GUNICORN_CMD_ARGS="-c other.py").workers == 5


def test_the_sources_are_listed_for_the_log(load_here):
    listed = load_here("-w", "2", GUNICORN_CMD_ARGS="--timeout 5").listed_sources()
    assert listed == "timeout (environment GUNICORN_CMD_ARGS); workers (flag --workers)"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "gthread",
            "eventlet",
            "gunicorn.workers.ggevent.GeventWorker",
            "gunicorn.workers.ggevent:GeventPyWSGIWorker",
        ),
        *("egg:gunicorn#eventlet", "gunicorn.workers.gthread.ThreadWorker"),
    ],
)
def test_a_worker_that_is_concurrent_already_is_served_with_a_warning(load_here, name):
    cfg = load_here("-k", name)
    (warning,) = cfg.warnings
    assert warning.startswith("flag --worker-class: worker_class ")
    assert warning.endswith("is served by gevent: requests run beside each other as greenlets")


def test_a_worker_class_given_as_a_class_of_gunicorns_is_known(load_here):
    cfg = load_here(file="from gunicorn.workers.gthread import ThreadWorker as worker_class")
    assert cfg.worker_class == "gunicorn.workers.gthread.ThreadWorker"


def test_gevent_websockets_worker_turns_websockets_on(load_here):
    name = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
    cfg = load_here("-k", name)
    assert (cfg.wsgi_websocket, cfg.source("wsgi_websocket")) == (True, "worker_class, flag --worker-class")
    assert load_here("-k", name, file="wsgi_websocket = False").wsgi_websocket is False


@pytest.mark.parametrize(("level", "meant"), [("trace", "debug"), ("notset", "info"), ("", "info"), ("TRACE", "debug")])
def test_levels_that_files_for_gunicorn_have_are_taken(load_here, level, meant):
    assert load_here(file=f"loglevel = {level!r}").loglevel == meant


@pytest.mark.parametrize("text", ["127.0.0.1: 8001", " 127.0.0.1:8001", "127.0.0.1 :8001 "])
def test_a_space_beside_an_addresss_colon_does_no_harm(load_here, text):
    assert [str(address) for address in load_here(file=f"bind = {text!r}").address] == ["127.0.0.1:8001"]


def test_a_worker_class_may_be_named_with_a_dot(load_here):
    assert load_here("-k", "my.workers.Worker").worker_class == "my.workers:Worker"


@pytest.mark.parametrize("name", ["default_workers", "secure", "port", "debug_mode_x"])
def test_no_setting_without_effect_and_none_far_away_is_suggested(load_here, name):
    assert not any("did you mean" in warning for warning in load_here(file=f"{name} = 3").warnings)
