from __future__ import annotations

import ast
import ssl

import pytest

from docs import settings_page
from geventwsgi.config.settings import BY_NAME, SETTINGS, nearest_setting
from tests.support.gunicorn_settings import GUNICORN_SETTINGS

OURS = {
    *("limit_request_body", "limit_connections", "limit_connections_per_address", "debug"),
    *("wsgi_websocket", "websocket_ping_interval", "websocket_ping_timeout"),
    *("health_path", "drain_delay", "drain_rate", "handover", "server_header", "remote_addr_from_forwarded"),
    *("handshake_timeout", "first_byte_timeout", "header_timeout", "body_min_rate", "body_grace"),
    *("write_timeout", "write_min_rate", "linger_timeout"),
    *("request_timeout", "queue_timeout", "limit_request_queue", "accept_balance", "on_disconnect", "half_close"),
    "affinity",
    "greenlet_per_request",
    *("access_log_skip", "error_log_format", "request_id_header", "stall_threshold", "strict"),
    *("admin_bind", "metrics_buckets"),
    "slow_request_threshold",
    *("max_worker_memory", "max_worker_age", "reload_surge", "drain_on_shutdown"),
}
OTHER_DEFAULTS = {
    *("config", "worker_class", "keepalive", "logger_class", "default_proc_name"),  # ours differ
    *("pythonpath", "sendfile", "ssl_version"),  # spelt otherwise
}


def test_every_setting_of_gunicorn_is_there_and_some_of_ours():
    assert set(BY_NAME) == set(GUNICORN_SETTINGS) | OURS
    assert len(BY_NAME) == len(SETTINGS)


@pytest.mark.parametrize(("name", "flags", "default"), [(name, *row) for name, row in GUNICORN_SETTINGS.items()])
def test_flags_and_defaults_are_those_of_gunicorn(name, flags, default):
    setting = BY_NAME[name]
    assert set(flags) <= set(setting.flags)
    if default.startswith("'hook("):
        assert default == f"'hook({setting.kind.metavar})'"
    elif name not in OTHER_DEFAULTS and not setting.shown:
        value = ast.literal_eval(default)
        assert setting.default == (None if value is None else setting.parse(value))


def test_differing_defaults_are_these():
    assert BY_NAME["worker_class"].default == "gevent"
    assert BY_NAME["keepalive"].default == 75
    assert BY_NAME["limit_request_body"].default == 0
    assert BY_NAME["default_proc_name"].default == "gwsgi"
    assert BY_NAME["ssl_version"].parse(ssl.PROTOCOL_TLS) == BY_NAME["ssl_version"].default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_default_is_what_parsing_it_returns(setting):
    if setting.default is not None:
        assert setting.parse(setting.default) == setting.default


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_help_is_one_to_three_sentences(setting):
    assert setting.help.endswith((".", ".)", "]."))
    assert 1 <= setting.help.count(". ") + 1 <= 3


def test_no_flag_stands_for_two_settings():
    flags = [flag for setting in SETTINGS for flag in setting.flags]
    assert len(flags) == len(set(flags))


#: What the first release serves; whatever else gunicorn has is accepted with a warning.
EFFECTIVE = {
    *("control_socket", "control_socket_mode", "control_socket_disable"),
    *("max_requests", "max_requests_jitter", "reuse_port"),
    *("config", "wsgi_app", "check_config", "print_config", "debug"),
    *("bind", "backlog", "workers", "worker_class", "worker_connections", "timeout", "graceful_timeout", "keepalive"),
    *("limit_request_line", "limit_request_fields", "limit_request_field_size", "websocket_max_message_size"),
    *("preload_app", "sendfile", "chdir", "raw_env", "pythonpath", "pidfile", "proc_name", "default_proc_name"),
    *("forwarded_allow_ips", "secure_scheme_headers", "forwarder_headers", "header_map"),
    *("proxy_protocol", "proxy_allow_ips"),
    *("paste", "raw_paste_global_conf"),
    *("user", "group", "initgroups", "umask", "daemon", "reload", "reload_engine", "reload_extra_files"),
    *("permit_obsolete_folding", "strip_header_spaces", "casefold_http_method"),
    *("permit_unconventional_http_method", "permit_unconventional_http_version"),
}


def test_the_settings_that_work_are_marked_so():
    whole = {s.name for s in SETTINGS if s.section in ("Logging", "SSL", "Server Hooks")}
    assert {setting.name for setting in SETTINGS if setting.effective} == whole | EFFECTIVE | OURS


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("wrokers", "workers"),
        ("Bind", "bind"),
        ("keep_alive", "keepalive"),
        ("access_logfile", "accesslog"),
        ("preload", "preload_app"),
        ("pid", "pidfile"),
        ("when_redy", "when_ready"),
        ("qqqq", None),
    ],
)
def test_knows_what_a_misspelt_name_or_flag_meant(word, meant):
    assert nearest_setting(word) == meant


def test_the_page_of_settings_is_up_to_date():
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run: python docs/settings_page.py"


def test_the_page_describes_every_setting():
    page = settings_page.page()
    assert all(f"\n### {setting.name}\n\n{setting.help}\n" in page for setting in SETTINGS)
    assert "- Default: `os.geteuid()`" in page
    assert "- Signature: `def pre_fork(server, worker)`" in page
    assert "- **No effect yet**" in page
