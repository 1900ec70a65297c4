from __future__ import annotations

import json
import logging
import textwrap

import pytest

from geventwsgi.errors import ConfigError

INI = """
    [loggers]
    keys=root, {names}

    [handlers]
    keys=file

    [formatters]
    keys=short

    [logger_root]
    level=WARNING
    handlers=

    [logger_error]
    level=DEBUG
    handlers=file
    propagate=0
    qualname={package}.error

    [logger_access]
    level=INFO
    handlers=file
    propagate=0
    qualname={package}.access

    [handler_file]
    class=FileHandler
    formatter=short
    args=('%(here)s/all.log',)

    [formatter_short]
    format=%(name)s|%(levelname)s|%(message)s
"""


def dictionary(path, package="geventwsgi", **more):
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "%(name)s|%(levelname)s|%(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(path), "formatter": "short"}},
        "loggers": {
            f"{package}.error": {"level": "INFO", "handlers": ["file"], "propagate": False},
            f"{package}.access": {"level": "INFO", "handlers": ["file"], "propagate": False},
        },
        **more,
    }


EXPECTED = ["geventwsgi.error|INFO|hello", "geventwsgi.access|INFO|GET 200"]


def expected(package):
    """Return the lines under the names that the configuration has for the loggers."""
    return [line.replace("geventwsgi", package) for line in EXPECTED]


def exercise(log, record):
    log.info("hello")
    log.record(record)


@pytest.mark.parametrize("package", ["geventwsgi", "gunicorn"])
def test_a_dictionary_takes_over_under_either_name(package, tmp_path, make_logger, request_record, capfd):
    given = dictionary(tmp_path / "all.log", package)
    log = make_logger(logconfig_dict=given, access_log_format="%(m)s %(s)s")
    assert log.access_log_enabled
    exercise(log, request_record())
    assert (tmp_path / "all.log").read_text().splitlines() == expected(package)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["geventwsgi", "gunicorn"])
def test_a_json_file_takes_over(package, tmp_path, make_logger, request_record):
    (tmp_path / "log.json").write_text(json.dumps(dictionary(tmp_path / "all.log", package)))
    log = make_logger(logconfig_json=str(tmp_path / "log.json"), access_log_format="%(m)s %(s)s")
    exercise(log, request_record())
    assert (tmp_path / "all.log").read_text().splitlines() == expected(package)


@pytest.mark.parametrize("package", ["geventwsgi", "gunicorn"])
@pytest.mark.parametrize("folder", ["plain", "100%"])
def test_an_ini_file_takes_over(package, folder, tmp_path, make_logger, request_record):
    here = tmp_path / folder
    here.mkdir()
    (here / "log.ini").write_text(textwrap.dedent(INI).format(package=package, names="error, access"))
    log = make_logger(logconfig=str(here / "log.ini"), access_log_format="%(m)s %(s)s")
    exercise(log, request_record())
    log.debug("the file's level counts")
    assert (here / "all.log").read_text().splitlines() == [
        *expected(package),
        f"{package}.error|DEBUG|the file's level counts",
    ]


def test_loggers_have_their_own_names_again_where_a_reload_brings_another_configuration(tmp_path, make_logger):
    log = make_logger(logconfig_dict=dictionary(tmp_path / "all.log", "gunicorn"))
    log.info("hello")
    log.cfg.logconfig_dict = dictionary(tmp_path / "all.log")
    log.setup(log.cfg)
    log.info("hello")
    lines = (tmp_path / "all.log").read_text().splitlines()
    assert lines == ["gunicorn.error|INFO|hello", "geventwsgi.error|INFO|hello"]


def test_filter_by_gunicorns_name_lets_records_through(tmp_path, make_logger):
    given = dictionary(tmp_path / "all.log", "gunicorn", filters={"mine": {"name": "gunicorn"}})
    given["handlers"]["file"]["filters"] = ["mine"]
    make_logger(logconfig_dict=given).info("hello")
    assert "hello" in (tmp_path / "all.log").read_text()


def test_the_dictionary_goes_before_the_files(tmp_path, make_logger):
    log = make_logger(logconfig_dict=dictionary(tmp_path / "dict.log"), logconfig_json="/none", logconfig="/none")
    log.info("hello")
    assert "hello" in (tmp_path / "dict.log").read_text()


def test_the_json_file_goes_before_the_ini_file(tmp_path, make_logger):
    (tmp_path / "log.json").write_text(json.dumps(dictionary(tmp_path / "json.log")))
    make_logger(logconfig_json=str(tmp_path / "log.json"), logconfig="/none").info("hello")
    assert "hello" in (tmp_path / "json.log").read_text()


def test_a_formatter_alone_changes_both_logs(make_logger, request_record, capfd):
    given = {"formatters": {"generic": {"format": "%(levelname)s %(message)s"}}}
    exercise(make_logger(logconfig_dict=given, access_log_format="%(m)s %(s)s"), request_record())
    assert capfd.readouterr() == ("INFO GET 200\n", "INFO hello\n")


def test_an_empty_part_leaves_the_defaults_which_cannot_be_forged(make_logger, capfd):
    make_logger(logconfig_dict={"version": 1}).error("bad\nforged")
    error = capfd.readouterr().err
    assert error.startswith("[") and error.endswith("[ERROR] bad\\x0Aforged\n")


def test_handlers_of_ones_own_with_the_root_get_both_logs(tmp_path, make_logger, request_record):
    given = dictionary(tmp_path / "all.log", root={"level": "INFO", "handlers": ["file"]})
    del given["loggers"]
    exercise(make_logger(logconfig_dict=given, access_log_format="%(m)s %(s)s"), request_record())
    assert (tmp_path / "all.log").read_text().splitlines() == EXPECTED


def test_handlers_of_ones_own_need_no_root(tmp_path, make_logger):
    make_logger(logconfig_dict=dictionary(tmp_path / "all.log")).info("hello")
    assert logging.root.handlers == []


def test_a_configuration_of_other_loggers_leaves_ours(tmp_path, make_logger, request_record):
    path = tmp_path / "error.log"
    given = dictionary(tmp_path / "all.log", loggers={"my.app": {"handlers": ["file"], "level": "INFO"}})
    log = make_logger(logconfig_dict=given, errorlog=str(path), accesslog=str(tmp_path / "access.log"))
    exercise(log, request_record())
    logging.getLogger("my.app").info("mine")
    assert "hello" in path.read_text()
    assert "GET" in (tmp_path / "access.log").read_text()
    assert (tmp_path / "all.log").read_text() == "my.app|INFO|mine\n"


def test_it_can_be_applied_again(tmp_path, make_logger, settings):
    given = dictionary(tmp_path / "all.log")
    log = make_logger(logconfig_dict=given)
    log.setup(settings(logconfig_dict=given))
    log.info("once")
    assert (tmp_path / "all.log").read_text() == "geventwsgi.error|INFO|once\n"


def test_atoms_are_there_for_formatters_as_in_gunicorn(make_logger, request_record):
    seen = []

    class Collect(logging.Handler):
        def emit(self, record):
            seen.append((record.args["m"], record.args["{host}i"], record.args["s"], record.getMessage()))

    given = {"handlers": {"collect": {"()": Collect}}, "loggers": {"gunicorn.access": {"handlers": ["collect"]}}}
    log = make_logger(logconfig_dict=given, access_log_format="%(m)s")
    log.access_log.setLevel(logging.INFO)
    log.record(request_record())
    assert seen == [("GET", "example.org", "200", "GET")]


# --- what is wrong is one line


@pytest.mark.parametrize(
    ("setting", "content", "reason"),
    [
        ("logconfig_json", None, "cannot be read: No such file or directory"),
        ("logconfig_json", "{", "is not JSON: "),
        ("logconfig_json", "[]", "is not an object of names and values"),
        (
            "logconfig_json",
            '{"handlers": {"x": {"class": "no.such.Class"}}}',
            "is refused by logging: Unable to configure handler 'x': ",
        ),
        ("logconfig_json", '{"version": 2}', "is refused by logging: Unsupported version: 2"),
        ("logconfig", None, "cannot be read: No such file or directory"),
        ("logconfig", "what", "is no ini file: "),
        ("logconfig", "[loggers]\nkeys=root\n", "is refused by logging: "),
    ],
)
def test_a_wrong_file(setting, content, reason, tmp_path, make_logger):
    path = tmp_path / "log"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        make_logger(**{setting: str(path)})
    assert str(caught.value).startswith(f"{setting} {str(path)!r}: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"handlers": 5}, "is not an object of names and values"),
        ({"loggers": []}, "is not an object of names and values"),
        ({"loggers": {"x": 5}}, "is refused by logging: "),
        ({"formatters": 5}, "is refused by logging: "),
    ],
)
def test_a_wrong_dictionary_is_not_printed(given, reason, make_logger):
    with pytest.raises(ConfigError) as caught:
        make_logger(logconfig_dict=given)
    assert str(caught.value).startswith(f"logconfig_dict: {reason}")


def test_a_refused_configuration_leaves_a_logger_that_logs(tmp_path, make_logger, settings):
    log = make_logger(errorlog=str(tmp_path / "old"))
    with pytest.raises(ConfigError):
        log.setup(settings(errorlog=str(tmp_path / "new"), logconfig_dict={"handlers": {"x": {"class": "no.such"}}}))
    log.error("still heard")
    assert "still heard" in (tmp_path / "new").read_text()


# A directory of the workers' user


@pytest.mark.parametrize("kind", ["logging.FileHandler", "logging.handlers.RotatingFileHandler"])
def test_a_handlers_file_is_no_way_to_roots_files(kind, theirs, make_logger):
    (theirs / "all.log").symlink_to("../victim")
    given = dictionary(theirs / "all.log")
    given["handlers"]["file"]["class"] = kind
    with pytest.raises(ConfigError, match=r"all\.log is a symbolic link in"):
        make_logger(logconfig_dict=given)


def test_nor_is_it_when_it_is_opened_again(theirs, make_logger):
    log = make_logger(logconfig_dict=dictionary(theirs / "all.log"))
    (theirs / "all.log").rename(theirs / "all.log.1")
    (theirs / "all.log").symlink_to("../victim")
    log.reopen_files()
    log.info("goes on")
    lines = (theirs / "all.log.1").read_text()
    assert "all.log cannot be reopened: all.log is a symbolic link in" in lines
    assert lines.endswith("geventwsgi.error|INFO|goes on\n")


def test_a_handler_that_the_application_made_follows_no_link_when_it_is_opened_again(theirs, make_logger):
    handler = logging.FileHandler(theirs / "own.log")
    logging.root.addHandler(handler)
    (theirs / "own.log").rename(theirs / "own.log.1")
    (theirs / "own.log").symlink_to("../victim")
    make_logger().reopen_files()
    logging.root.warning("goes on")
    assert (theirs / "own.log.1").read_text().endswith("goes on\n")


def test_logging_itself_stays_as_it_was(tmp_path, make_logger):
    make_logger(logconfig_dict=dictionary(tmp_path / "all.log"))
    assert not hasattr(logging, "open")
