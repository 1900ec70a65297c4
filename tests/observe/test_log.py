from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from geventwsgi.errors import ConfigError
from geventwsgi.observe.access import Record, SafeAtoms
from geventwsgi.observe.log import Logger, stream_logger
from geventwsgi.observe.recorder import recorder
from tests.observe.conftest import RECORD


def run(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=True, **options,
    )  # fmt: skip


# --- the error log


@pytest.mark.parametrize("method", ["debug", "info", "warning", "error", "critical"])
def test_messages_of_every_level(method, make_logger, capfd):
    getattr(make_logger(loglevel="debug"), method)("hello %s", "world")
    match = RECORD.fullmatch(capfd.readouterr().err.rstrip("\n"))
    assert match[3] == method.upper() and match[4] == "hello world"


@pytest.mark.parametrize(("level", "heard"), [("debug", 5), ("info", 4), ("WARNING", 3), ("error", 2), ("critical", 1)])
def test_loglevel(level, heard, make_logger, capfd):
    log = make_logger(loglevel=level)
    for method in (log.debug, log.info, log.warning, log.error, log.critical):
        method("x")
    assert len(capfd.readouterr().err.splitlines()) == heard


def test_an_unknown_level_is_info(make_logger):
    assert make_logger(loglevel="loud").loglevel == logging.INFO


def test_log_takes_a_level_by_number_or_name(make_logger, capfd):
    log = make_logger()
    log.log(logging.WARNING, "one")
    log.log("Error", "two")
    log.log("loud", "three")
    levels = [RECORD.fullmatch(line)[3] for line in capfd.readouterr().err.splitlines()]
    assert levels == ["WARNING", "ERROR", "INFO"]


def test_exception_has_the_traceback(make_logger, capfd):
    log = make_logger()
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].endswith("[ERROR] failed") and lines[-1].strip().startswith("ZeroDivisionError")


def test_an_exception_given_is_not_replaced(make_logger, capfd):
    make_logger().exception("failed", exc_info=ValueError("mine"))
    assert "ValueError: mine" in capfd.readouterr().err


def test_the_error_log_may_be_off(make_logger, capfd):
    make_logger(errorlog=None, accesslog="-").info("nobody")
    assert capfd.readouterr() == ("", "")


def test_messages_do_not_reach_the_root_logger(make_logger, caplog):
    make_logger().error("ours alone")
    assert caplog.records == []


# --- the access log


def test_access_lines_go_to_stdout(make_logger, request_record, capfd):
    log = make_logger(accesslog="-", access_log_format="%(r)s %(s)s")
    log.record(request_record())
    assert capfd.readouterr() == ("GET /a%20b?c=d HTTP/1.1 200\n", "")


def test_access_as_gunicorn_calls_it(make_logger, request_record, tmp_path):
    log = make_logger(accesslog=str(tmp_path / "log"), access_log_format="%(r)s %(D)s")
    record = request_record()
    log.access(record.resp, record.req, record.environ, timedelta(seconds=1.5))
    assert (tmp_path / "log").read_text() == "GET /a%20b?c=d HTTP/1.1 1500000\n"


def test_without_an_access_log_there_is_nothing_to_do(make_logger, request_record, capfd):
    log = make_logger()
    assert not log.access_enabled and not log.access_log_enabled
    assert recorder(log) is None
    log.record(request_record())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("setting", ["accesslog", "errorlog"])
def test_a_file_that_cannot_be_opened_names_its_setting(setting, make_logger, tmp_path):
    with pytest.raises(ConfigError) as caught:
        make_logger(**{setting: str(tmp_path / "none" / "log")})
    assert caught.value.exit_status == 2
    assert str(caught.value) == (
        f"{setting} {str(tmp_path / 'none' / 'log')!r}: cannot be opened: No such file or directory; "
        f"create the directory {str(tmp_path / 'none')!r} or choose another file"
    )


def test_a_full_disk_does_not_reach_the_request(make_logger, request_record, capfd):
    log = make_logger(accesslog="/dev/full", errorlog="/dev/full")
    for _ in range(3):
        log.record(request_record())
        log.error("x")
    assert capfd.readouterr().err == (
        "geventwsgi: accesslog /dev/full: No space left on device; each line tries again\n"
        "geventwsgi: errorlog /dev/full: No space left on device; each line tries again\n"
    )


def test_a_closed_stdout_does_not_reach_the_request():
    code = """
        import os
        from datetime import timedelta
        from types import SimpleNamespace
        from tests.observe.conftest import DEFAULTS
        from geventwsgi.observe.log import Logger
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
        log = Logger(SimpleNamespace(**{**DEFAULTS, "accesslog": "-"}))
        for _ in range(3):
            log.access(SimpleNamespace(status="200 OK", headers=[], sent=0), None, {}, timedelta(0))
        log.info("end")
        os._exit(0)
    """
    lines = run(code).stderr.splitlines()
    assert lines[0] == "geventwsgi: stdout: Broken pipe; each line tries again"
    assert len(lines) == 2 and lines[1].endswith("[INFO] end")


def test_a_record_that_fails_is_a_traceback_in_the_error_log(make_logger, request_record, capfd):
    log = make_logger(accesslog="-")
    record = request_record()
    record.resp = None
    log.record(record)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].endswith("[ERROR] An access record could not be logged")
    assert "AttributeError" in lines[-1]


# --- an access line that somebody else wants to see


class Filtered(Logger):
    def setup(self, cfg):
        super().setup(cfg)
        self.access_log.addFilter(lambda record: record.args["U"] != "/health")


def test_a_filter_decides_by_the_atoms(make_logger, request_record, capfd):
    log = make_logger(Filtered, accesslog="-", access_log_format="%(U)s")
    log.record(request_record(PATH_INFO="/health"))
    log.record(request_record(PATH_INFO="/page"))
    assert capfd.readouterr().out == "/page\n"


def test_a_filter_of_the_handler_decides(make_logger, request_record, capfd):
    log = make_logger(accesslog="-")
    log.access_log.handlers[0].addFilter(lambda record: False)
    log.record(request_record())
    assert capfd.readouterr().out == ""


def test_a_formatter_gets_the_atoms(make_logger, request_record, capfd):
    class Json(logging.Formatter):
        def format(self, record):
            return json.dumps({name: record.args[name] for name in ("m", "s", "B")})

    log = make_logger(accesslog="-")
    log.access_log.handlers[0].setFormatter(Json())
    log.record(request_record())
    assert json.loads(capfd.readouterr().out) == {"m": "GET", "s": "200", "B": 5}


def test_a_second_handler_gets_the_record(make_logger, request_record, capfd):
    log = make_logger(accesslog="-", access_log_format="%(s)s")
    stream = io.StringIO()
    log.access_log.addHandler(logging.StreamHandler(stream))
    log.record(request_record())
    assert (capfd.readouterr().out, stream.getvalue()) == ("200\n", "200\n")


def test_records_propagate_if_told(make_logger, request_record, caplog):
    log = make_logger(accesslog="/dev/null", access_log_format="%(s)s")
    log.access_log.propagate = True
    log.record(request_record())
    assert caplog.messages == ["200"]


def test_a_level_or_a_disabled_logger_silences_lines(make_logger, request_record, capfd):
    log = make_logger(accesslog="-")
    log.access_log.setLevel(logging.WARNING)
    log.record(request_record())
    log.access_log.setLevel(logging.INFO)
    log.access_log.disabled = True
    log.record(request_record())
    log.access_log.disabled = False
    assert capfd.readouterr().out == ""
    log.record(request_record())
    assert capfd.readouterr().out != ""


# --- lines of one turn of the loop


@pytest.fixture
def gathering(make_logger, tmp_path):
    """Make a logger that gathers lines; return it, what it wants called at the end of a turn, and the file."""

    def make():  # within the test: pytest listens to loggers that it finds
        log, later = make_logger(accesslog=str(tmp_path / "a"), access_log_format="%(s)s"), []
        log.gather(later.append)
        return log, later, tmp_path / "a"

    return make


def test_records_of_a_turn_wait_for_its_end_in_their_order(gathering, request_record):
    log, later, path = gathering()
    record = recorder(log)
    for status in ("200 OK", "404 Not Found", "500 Oh"):
        record(request_record(status=status))
    assert (path.read_text(), len(later)) == ("", 1)
    later.pop()()
    assert path.read_text() == "200\n404\n500\n"


def test_records_wait_as_well_where_metrics_are_sent(make_logger, make_agent, tmp_path, request_record):
    agent, later = make_agent(), []
    statsd = ("127.0.0.1", agent.port)
    log = make_logger(accesslog=str(tmp_path / "a"), access_log_format="%(s)s", statsd_host=statsd)
    log.gather(later.append)
    for _ in range(2):
        recorder(log)(request_record())
        assert "gunicorn.requests" in agent.receive()
    assert (tmp_path / "a").read_text() == ""
    later.pop()()
    assert (tmp_path / "a").read_text() == "200\n200\n"


def test_the_error_log_does_not_wait(make_logger, tmp_path):
    log = make_logger(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"))
    log.gather([].append)
    log.error("now")
    assert (tmp_path / "e").read_text().endswith("now\n")


def test_what_gathers_no_more_writes_at_once(gathering, request_record):
    log, _, path = gathering()
    record = recorder(log)
    record(request_record())
    log.gather(None)
    assert path.read_text() == "200\n"
    record(request_record())
    assert path.read_text() == "200\n200\n"


def test_a_second_setup_gathers_on_and_loses_nothing(gathering, settings, tmp_path, request_record):
    log, later, path = gathering()
    record = recorder(log)
    record(request_record())
    log.setup(settings(accesslog=str(tmp_path / "b"), access_log_format="%(m)s"))
    assert path.read_text() == "200\n"
    record(request_record())
    assert (tmp_path / "b").read_text() == ""
    later.pop()()
    assert (tmp_path / "b").read_text() == "GET\n"


def test_reopening_writes_what_waits_to_the_old_file(gathering, request_record):
    log, later, path = gathering()
    record = recorder(log)
    record(request_record())
    old = path.rename(path.with_suffix(".1"))
    log.reopen_files()
    record(request_record(status="404 No"))
    later.pop()()
    assert (old.read_text(), path.read_text()) == ("200\n", "404\n")


def test_a_filter_that_comes_later_counts_from_the_next_turn_on(gathering, request_record):
    log, later, path = gathering()
    record = recorder(log)
    record(request_record())
    log.access_log.addFilter(lambda _record: False)
    record(request_record())
    later.pop()()
    record(request_record())
    log.gather(None)
    assert path.read_text() == "200\n200\n"


def test_a_record_that_fails_among_others_costs_itself_alone(gathering, request_record, capfd):
    log, later, path = gathering()
    record, wrong = recorder(log), request_record()
    wrong.resp = None
    for each in (wrong, request_record(), wrong, request_record()):
        record(each)
    for call in later:
        call()
    assert path.read_text() == "200\n200\n"
    assert capfd.readouterr().err.count("[ERROR] An access record could not be logged\n") == 2


# --- subclasses, as gunicorn's are written


class OwnAtoms(Logger):
    def atoms(self, resp, req, environ, request_time):
        atoms = super().atoms(resp, req, environ, request_time)
        atoms["rid"] = f'"{request_time.total_seconds()}\n'
        return atoms


class OwnTime(Logger):
    def now(self):
        return "noon"


class OwnAccess(Logger):
    def access(self, resp, req, environ, request_time):
        if environ["PATH_INFO"] != "/health":
            super().access(resp, req, environ, request_time)


class OwnPrefix(Logger):
    access_fmt = "access: %(message)s"


class OwnWrapper(Logger):
    class atoms_wrapper_class(SafeAtoms):  # noqa: N801 - named as gunicorn names it
        def __getitem__(self, key):
            return super().__getitem__(key).upper()


@pytest.mark.parametrize(
    ("cls", "text", "expected"),
    [
        (OwnAtoms, "%(rid)s %(m)s", "\\x220.5\\x0A GET\n"),
        (OwnTime, "%(t)s", "noon\n"),
        (OwnAccess, "%(m)s", "GET\n"),
        (OwnPrefix, "%(m)s", "access: GET\n"),
        (OwnWrapper, "%(a)s", "CURL\n"),
    ],
)
def test_a_subclass_has_its_way(cls, text, expected, make_logger, request_record, capfd):
    log = make_logger(cls, accesslog="-", access_log_format=text)
    record = recorder(log)
    record(request_record(duration=0.5, HTTP_USER_AGENT="curl"))
    if cls is OwnAccess:
        record(request_record(PATH_INFO="/health"))
    assert capfd.readouterr().out == expected


class OwnErrors(Logger):
    error_fmt = "%(asctime)s|%(message)s"
    datefmt = "%Y"


def test_a_subclass_may_have_formats_of_its_own(make_logger, capfd):
    make_logger(OwnErrors).error("x")
    assert capfd.readouterr().err[4:] == "|x\n"


# --- set up again


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_second_setup_replaces_the_first(make_logger, settings, tmp_path, request_record):
    log = make_logger(errorlog=str(tmp_path / "e1"), accesslog=str(tmp_path / "a1"))
    descriptors = open_files()
    log.setup(settings(errorlog=str(tmp_path / "e2"), accesslog=str(tmp_path / "a2"), loglevel="debug"))
    log.debug("x")
    log.record(request_record())
    assert open_files() == descriptors
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("e1", "e2", "a1", "a2")] == [0, 1, 0, 1]


def test_a_second_logger_takes_over_from_the_first(make_logger, tmp_path, request_record):
    first = make_logger(errorlog=str(tmp_path / "e1"), accesslog=str(tmp_path / "a1"))
    make_logger(errorlog=str(tmp_path / "e2"), accesslog=str(tmp_path / "a2"))
    first.error("x")
    first.record(request_record())
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("e1", "e2", "a1", "a2")] == [0, 1, 0, 1]


def test_handlers_are_found_by_gunicorns_names(make_logger):
    log = make_logger(accesslog="-")
    assert (log.error_handlers, log.access_handlers) == (log.error_log.handlers, log.access_log.handlers)
    assert log.logfile is None


def test_a_setup_that_fails_leaves_everything_as_it_was(make_logger, settings, tmp_path, request_record):
    log = make_logger(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"), access_log_format="%(s)s")
    descriptors = open_files()
    for wrong in (
        {"accesslog": str(tmp_path / "none" / "x")},
        {"errorlog": str(tmp_path / "none" / "x")},
        {"syslog": True, "syslog_addr": "x"},
        {"logconfig": "/none"},
    ):
        with pytest.raises(ConfigError):
            log.setup(settings(**{"loglevel": "error", **wrong}))
    log.info("heard")
    log.record(request_record())
    assert len((tmp_path / "e").read_text().splitlines()) == 1
    assert (tmp_path / "a").read_text() == "200\n"
    assert open_files() == descriptors


def test_somebody_elses_handlers_stay(make_logger, settings):
    log = make_logger()
    other = logging.NullHandler()
    log.error_log.addHandler(other)
    log.setup(settings())
    assert other in log.error_log.handlers and len(log.error_log.handlers) == 2


def test_a_closed_logger_is_silent(make_logger, request_record, capfd):
    log = make_logger(accesslog="-")
    log.close()
    log.record(request_record())
    log.info("x")
    log.close()
    assert capfd.readouterr() == ("", "")


# --- gunicorn's names of the loggers


def test_an_application_may_borrow_gunicorns_handlers(make_logger, settings, tmp_path, capfd):
    log = make_logger(errorlog=str(tmp_path / "log"))
    application = logging.getLogger("tests.observe.application")
    application.handlers = logging.getLogger("gunicorn.error").handlers
    application.setLevel(logging.getLogger("gunicorn.error").level)
    log.setup(settings(errorlog=str(tmp_path / "log2")))
    application.info("borrowed")
    logging.getLogger("gunicorn.error").info("by name")
    assert (tmp_path / "log").read_text() == ""
    assert [line.rpartition("] ")[2] for line in (tmp_path / "log2").read_text().splitlines()] == [
        "borrowed",
        "by name",
    ]


def test_a_list_of_handlers_that_an_application_took_is_the_loggers_after_a_setup(make_logger, settings, tmp_path):
    log = make_logger(errorlog=str(tmp_path / "log"))
    borrowed = logging.getLogger("gunicorn.error").handlers
    log.setup(settings(errorlog=str(tmp_path / "log2")))
    assert borrowed is log.error_log.handlers


def test_a_handler_removed_by_gunicorns_name_is_gone_from_ours(make_logger, capfd):
    log = make_logger(errorlog="-")
    (handler,) = log.error_log.handlers
    other = logging.NullHandler()
    logging.getLogger("gunicorn.error").addHandler(other)
    logging.getLogger("gunicorn.error").removeHandler(handler)
    log.info("x")
    assert (log.error_log.handlers, capfd.readouterr().err) == ([other], "")
    log.error_log.removeHandler(other)


def test_a_log_that_has_lost_its_handlers_is_written_all_the_same(make_logger, capfd):
    log = make_logger(errorlog="-")
    log.error_log.handlers.clear()
    log.info("x")
    assert capfd.readouterr().err.endswith("[INFO] x\n")


def test_a_setup_leaves_a_log_to_who_has_taken_it(make_logger, settings, capfd):
    log = make_logger(errorlog="-")
    other = logging.NullHandler()
    log.error_log.handlers = [other]
    log.setup(settings(errorlog="-"))
    log.info("x")
    assert (log.error_log.handlers, capfd.readouterr().err) == ([other], "")
    log.error_log.removeHandler(other)


@pytest.mark.parametrize("early", [True, False])
def test_a_filter_on_gunicorns_name_counts(early, make_logger, request_record, capfd):
    def add():
        logging.getLogger("gunicorn.access").addFilter(lambda record: "health" not in record.getMessage())

    if early:
        logging.getLogger("gunicorn.access").addHandler(logging.NullHandler())
        add()
    log = make_logger(accesslog="-", access_log_format="%(U)s")
    if not early:
        add()
    log.record(request_record(PATH_INFO="/health"))
    log.record(request_record(PATH_INFO="/page"))
    assert capfd.readouterr().out == "/page\n"


# --- files


def test_reopen_files_follows_logrotate(make_logger, request_record, tmp_path):
    log = make_logger(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"), access_log_format="%(s)s")
    log.info("old")
    log.record(request_record())
    for name in "ea":
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    log.reopen_files()
    log.info("new")
    log.record(request_record(status="404 Not Found"))
    assert "old" in (tmp_path / "e.1").read_text() and "new" in (tmp_path / "e").read_text()
    assert ((tmp_path / "a.1").read_text(), (tmp_path / "a").read_text()) == ("200\n", "404\n")


def test_a_file_that_cannot_be_reopened_stays_and_a_line_says_so(make_logger, request_record, tmp_path, capfd):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = make_logger(accesslog=str(folder / "a"), access_log_format="%(s)s")
    folder.rename(tmp_path / "moved")
    log.reopen_files()
    log.record(request_record())
    assert (tmp_path / "moved" / "a").read_text() == "200\n"
    assert capfd.readouterr().err.endswith(
        f"[ERROR] accesslog {folder / 'a'} cannot be reopened: No such file or directory; the old file stays in use\n"
    )


@pytest.mark.parametrize("mode", ["a", "w"])
def test_files_of_other_handlers_are_reopened_too(mode, make_logger, tmp_path):
    other = logging.getLogger("my.app")
    other.addHandler(logging.FileHandler(tmp_path / "app", mode))
    other.addHandler(logging.FileHandler(tmp_path / "stays", mode))
    other.addHandler(logging.FileHandler(tmp_path / "unused", mode, delay=True))
    log = make_logger()
    other.error("old")
    (tmp_path / "app").rename(tmp_path / "app.1")
    (tmp_path / "unused").unlink()
    log.reopen_files()
    other.handlers[2].close()
    other.removeHandler(other.handlers[2])
    other.error("new")
    assert ((tmp_path / "app.1").read_text(), (tmp_path / "app").read_text()) == ("old\n", "new\n")
    assert (tmp_path / "stays").read_text() == "old\nnew\n", "what was not renamed must not be emptied"


def test_a_file_of_another_handler_that_cannot_be_reopened_stays(make_logger, tmp_path, capfd):
    folder = tmp_path / "logs"
    folder.mkdir()
    other = logging.getLogger("my.app")
    other.addHandler(logging.FileHandler(folder / "app"))
    log = make_logger()
    folder.rename(tmp_path / "moved")
    log.reopen_files()
    other.error("x")
    assert (tmp_path / "moved" / "app").read_text() == "x\n"
    assert f"{folder / 'app'} cannot be reopened: " in capfd.readouterr().err


def test_reopening_leaves_streams_alone(make_logger, capfd):
    log = make_logger(accesslog="-")
    log.reopen_files()
    log.info("x")
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_programs_that_are_executed_get_no_log_file(make_logger, tmp_path):
    other = logging.getLogger("my.app")
    other.addHandler(logging.FileHandler(tmp_path / "app"))
    log = make_logger(errorlog=str(tmp_path / "e"), accesslog=str(tmp_path / "a"))
    logging.getLogger("my.app").addHandler(logging.NullHandler())
    logging.getLogger("my.app").addHandler(logging.FileHandler(tmp_path / "unused", delay=True))
    handlers = [
        log.error_log.handlers[0].sink.fd,
        log.access_log.handlers[0].sink.fd,
        other.handlers[0].stream.fileno(),
    ]
    for fd in handlers:
        os.set_inheritable(fd, True)
    log.close_on_exec()
    assert not any(map(os.get_inheritable, handlers))
    open_files = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True
    )
    assert str(tmp_path) not in open_files.stdout


def test_standard_streams_are_left_to_programs_that_are_executed(make_logger):
    log = make_logger(accesslog="-")
    log.close_on_exec()
    assert os.get_inheritable(2)


# --- capture_output


CAPTURE = """
    import os, sys
    from datetime import timedelta
    from types import SimpleNamespace
    from tests.observe.conftest import DEFAULTS
    from geventwsgi.observe.log import Logger
    path = sys.argv[1]
    cfg = {**DEFAULTS, "capture_output": True, "errorlog": path, "accesslog": "-", "access_log_format": "%(s)s"}
    log = Logger(SimpleNamespace(**cfg))
    def use(word):
        log.info("logged %s", word)
        print("printed", word)
        os.system(f"echo child {word}")
        log.access(SimpleNamespace(status="200", headers=[], sent=0), None, {}, timedelta(0))
"""


def test_captured_output_goes_to_the_error_log_and_moves_with_it(tmp_path):
    code = textwrap.dedent(CAPTURE) + textwrap.dedent("""
        use("one")
        os.rename(path, path + ".1")
        log.reopen_files()
        use("two")
        log.setup(SimpleNamespace(**{**cfg, "errorlog": path + ".other"}))
        use("three")
    """)
    done = run(code, tmp_path / "log")
    assert (done.stdout, done.stderr) == ("", "")
    for name, word in (("log.1", "one"), ("log", "two"), ("log.other", "three")):
        lines = (tmp_path / name).read_text().splitlines()
        assert lines[0].endswith(f"[INFO] logged {word}")
        assert lines[1:] == [f"printed {word}", f"child {word}", "200"]


def test_captured_output_stays_where_it_is_if_the_file_cannot_be_reopened(tmp_path):
    (tmp_path / "logs").mkdir()
    code = textwrap.dedent(CAPTURE) + textwrap.dedent("""
        os.rename(os.path.dirname(path), os.path.dirname(path) + ".moved")
        log.reopen_files()
        print("still")
    """)
    run(code, tmp_path / "logs" / "log")
    lines = (tmp_path / "logs.moved" / "log").read_text().splitlines()
    assert "cannot be reopened" in lines[0] and lines[-1] == "still"


@pytest.mark.parametrize("target", ["-", "/dev/stderr", None])
def test_output_is_not_captured_without_a_file(target, make_logger, capfd):
    make_logger(capture_output=True, errorlog=target)
    print("printed")
    assert capfd.readouterr().out == "printed\n"


# --- records for any logger


class Recording:
    """A logger of gunicorn's shape."""

    def __init__(self):
        self.calls = []
        self.failures = []

    def access(self, resp, req, environ, request_time):
        self.calls.append((resp, req, environ, request_time))

    def exception(self, text):
        self.failures.append(text)


def test_another_logger_gets_what_gunicorn_would_give_it(request_record):
    log, record = Recording(), request_record(duration=1.5)
    recorder(log)(record)
    assert log.calls == [(record.resp, record.req, record.environ, timedelta(seconds=1.5))]


def test_another_logger_can_log_a_refused_request():
    log = Recording()
    resp = SimpleNamespace(status="400 Bad Request", headers=[], sent=0)
    recorder(log)(Record(None, resp, {"REMOTE_ADDR": "::1"}, 0.0))
    ((_, req, environ, _),) = log.calls
    assert list(req.headers) == [] and req.method == "-"
    assert environ == {"REQUEST_METHOD": "-", "RAW_URI": "-", "SERVER_PROTOCOL": "-", "REMOTE_ADDR": "::1"}


def test_another_logger_gets_the_request_line_of_a_request_without_environ(request_record):
    log, record = Recording(), request_record()
    record.environ = {}
    recorder(log)(record)
    assert log.calls[0][2] == {"REQUEST_METHOD": "GET", "RAW_URI": "/a%20b?c=d", "SERVER_PROTOCOL": "HTTP/1.1"}


def test_another_logger_that_fails_does_not_reach_the_request(request_record, monkeypatch):
    log = Recording()
    log.access = None
    recorder(log)(request_record())
    assert log.failures == ["An access record could not be logged"]


# --- pywsgi's arguments


def test_the_default_is_stderr_for_both(request_record, capfd, settings):
    log = stream_logger("default", "default", cfg=settings())
    log.record(request_record(HTTP_USER_AGENT="curl"))
    log.error("failed")
    out, err = capfd.readouterr()
    access, error = err.splitlines()
    assert out == ""
    assert access.startswith("192.0.2.7 - - [") and access.endswith('"GET /a%20b?c=d HTTP/1.1" 200 5 "-" "curl"')
    assert RECORD.fullmatch(error)[4] == "failed"


def test_none_is_silence(request_record, capfd, settings):
    log = stream_logger(None, None, cfg=settings())
    assert not log.access_enabled
    log.record(request_record())
    log.critical("x")
    assert capfd.readouterr() == ("", "")


def test_objects_with_write_get_lines(request_record, settings):
    access, error = io.StringIO(), io.StringIO()
    log = stream_logger(access, error, cfg=settings())
    log.record(request_record())
    log.error("bad\nforged")
    log.debug("not heard")
    assert access.getvalue().count("\n") == 1 and "GET" in access.getvalue()
    assert error.getvalue().endswith("[ERROR] bad\\x0Aforged\n")


def test_loggers_get_records_at_their_levels(request_record, caplog, settings):
    logger = logging.getLogger("mine")
    caplog.set_level(logging.DEBUG, "mine")
    log = stream_logger(logger, logger, cfg=settings())
    log.record(request_record())
    log.error("failed")
    log.info("going on")
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "INFO"]
    assert logger.level == logging.DEBUG, "somebody else's logger keeps its level"


def test_adapters_of_loggers_get_records_at_their_levels_and_add_their_own(request_record, caplog, settings):
    class Adapter(logging.LoggerAdapter):
        def process(self, msg, kwargs):
            return f"[shop] {msg}", kwargs

    adapter = Adapter(logging.getLogger("mine"), {})
    caplog.set_level(logging.DEBUG, "mine")
    log = stream_logger(adapter, adapter, cfg=settings())
    log.record(request_record())
    log.error("failed: 100%")
    log.error("failed %s", "again", exc_info=LookupError())
    said = [(record.name, record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert said == [("mine", "INFO", False), ("mine", "ERROR", False), ("mine", "ERROR", True)]
    assert "GET /a%20b?c=d" in caplog.records[0].getMessage()
    assert [record.getMessage() for record in caplog.records[1:]] == ["[shop] failed: 100%", "[shop] failed again"]


def test_two_servers_of_a_process_do_not_share_their_logs(request_record, settings):
    one, two = io.StringIO(), io.StringIO()
    first, second = stream_logger(one, None, cfg=settings()), stream_logger(two, None, cfg=settings())
    first.record(request_record())
    assert one.getvalue() != "" and two.getvalue() == ""
    second.record(request_record())
    assert one.getvalue().count("\n") == two.getvalue().count("\n") == 1
    assert logging.getLogger("geventwsgi.access").handlers == []


def test_settings_that_concern_streams_count(make_agent, settings, request_record):
    agent = make_agent()
    access, error = io.StringIO(), io.StringIO()
    cfg = settings(access_log_format="%(s)s", loglevel="error", statsd_host=("127.0.0.1", agent.port))
    log = stream_logger(access, error, cfg=cfg)
    log.record(request_record())
    log.warning("x")
    assert access.getvalue() == "200\n" and error.getvalue() == ""
    assert "gunicorn.requests" in agent.receive()
    log.setup(settings(access_log_format="%(m)s"))
    log.record(request_record())
    assert access.getvalue() == "200\nGET\n"
    log.close()


@pytest.mark.parametrize("argument", ["stderr", 5, object()])
def test_another_argument_is_refused(argument, settings):
    with pytest.raises(TypeError) as caught:
        stream_logger(argument, None, cfg=settings())
    assert "log must be 'default', None, a logging.Logger or an object with write()" in str(caught.value)


# --- before and after gevent


def test_importing_it_leaves_everything_to_be_patched():
    code = """
        import sys
        before = set(sys.modules)
        import geventwsgi.observe.log
        unwanted = {"ssl", "socket", "select", "gevent", "greenlet", "logging.handlers", "logging.config"}
        print(sorted((set(sys.modules) - before) & unwanted))
    """
    assert run(code).stdout == "[]\n"


def test_a_logger_made_before_patching_serves_greenlets(tmp_path, make_agent):
    agent = make_agent()
    code = """
        import sys
        from types import SimpleNamespace
        from tests.observe.conftest import DEFAULTS
        from geventwsgi.observe.log import ErrorStream, Logger, Record
        folder, port = sys.argv[1:]
        log = Logger(SimpleNamespace(**{
            **DEFAULTS, "errorlog": folder + "/e", "accesslog": folder + "/a", "access_log_format": "%(s)s",
            "statsd_host": ("127.0.0.1", int(port)), "syslog": True, "syslog_addr": f"udp://127.0.0.1:{port}",
        }))
        errors = ErrorStream(log)
        from gevent import monkey
        monkey.patch_all()
        import gevent
        def serve(number):
            errors.write(f"partial {number} ")
            gevent.sleep(0)
            log.record(Record(None, SimpleNamespace(status="200", headers=[], sent=0), {}, 0.0))
            log.warning("warned %d", number)
            errors.write("ended\\n")
        gevent.joinall([gevent.spawn(serve, number) for number in range(100)], raise_error=True)
        # Not even where nothing may switch: in a callback of the loop.
        gevent.get_hub().loop.run_callback(lambda: log.error("from the loop"))
        gevent.sleep(0.01)
    """
    assert run(code, tmp_path, agent.port).stderr == ""
    lines = [line.rpartition("] ")[2] for line in (tmp_path / "e").read_text().splitlines()]
    expected = {f"partial {number} ended" for number in range(100)} | {f"warned {number}" for number in range(100)}
    assert set(lines) == expected | {"from the loop"}
    assert (tmp_path / "a").read_text() == "200\n" * 100
    assert not agent.silent()


def test_the_settings_table_has_all_that_is_used(make_agent, request_record, capfd):
    from geventwsgi.config.sources import Config

    agent = make_agent()
    cfg = Config.of(
        accesslog="-", syslog=True, syslog_addr=f"udp://127.0.0.1:{agent.port}", statsd_host=f"127.0.0.1:{agent.port}",
        disable_redirect_access_to_syslog=True,
    )  # fmt: skip
    log = cfg.logger_class(cfg)
    assert type(log) is Logger
    log.record(request_record())
    assert "gunicorn.requests" in agent.receive()
    log.error("x")
    assert "gunicorn.gwsgi.error: " in agent.receive()
    log.close()
    assert "GET" in capfd.readouterr().out
