from __future__ import annotations

import random

import pytest

from geventwsgi.config.flags import CommandLine, _read_plainly, help_text, read_flags
from geventwsgi.config.parser import Parser
from geventwsgi.config.setting import Given
from geventwsgi.config.settings import SETTINGS
from geventwsgi.errors import ConfigError


def test_gives_each_flag_with_its_name():
    found = read_flags(["-w", "3", "--bind=:80", "-b", ":81", "--reload", "--no-sendfile"])
    assert found == CommandLine(
        {
            "workers": Given("3", "flag --workers"),
            "bind": Given([":80", ":81"], "flag --bind"),
            "reload": Given(True, "flag --reload"),
            "sendfile": Given(False, "flag --no-sendfile"),
        }
    )


@pytest.mark.parametrize(
    "arguments",
    [["app:app", "-w", "3"], ["-w", "3", "app:app"], ["-R", "app:app", "-w3"], ["--workers", "3", "--", "app:app"]],
)
def test_the_application_may_stand_anywhere(arguments):
    assert read_flags(arguments).given["wsgi_app"] == Given("app:app", "command line")


def test_a_dash_is_a_value_and_so_is_a_negative_number():
    given = read_flags(["--access-logfile", "-", "--backlog", "-1"]).given
    assert [given["accesslog"].value, given["backlog"].value] == ["-", "-1"]


@pytest.mark.parametrize(("arguments", "value"), [(["--proxy-protocol"], "auto"), (["--proxy-protocol", "v2"], "v2")])
def test_the_value_of_proxy_protocol_may_be_left_out(arguments, value):
    assert read_flags(arguments).given["proxy_protocol"].value == value


def test_an_unambiguous_beginning_of_a_flag_will_do():
    assert read_flags(["--worker-con", "5"]).given["worker_connections"].value == "5"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--wrokers", "3"], "unknown flag --wrokers; did you mean --workers?"),
        (["--keepalive=3"], "unknown flag --keepalive=3; did you mean --keep-alive?"),
        (["--accesslog", "-"], "unknown flag --accesslog; did you mean --access-logfile?"),
        (["--when-ready"], "unknown flag --when-ready; see gwsgi --help"),
        (["-x"], "unknown flag -x; see gwsgi --help"),
        (["--qqqq", "app:app"], "unknown flag --qqqq; see gwsgi --help"),
        (["-w"], "argument -w/--workers: expected one argument; see gwsgi --help"),
        (["--reload=yes"], "argument --reload: ignored explicit argument 'yes'; see gwsgi --help"),
    ],
)
def test_says_what_is_wrong_with_the_flags(arguments, line):
    with pytest.raises(ConfigError) as caught:
        read_flags(arguments)
    assert str(caught.value) == line
    with pytest.raises(ConfigError) as caught:
        read_flags(arguments, "environment X")
    assert str(caught.value) == f"environment X: {line}"


@pytest.mark.parametrize("flags", [[], ["-w", "3"], ["-w3"]])
def test_what_stands_behind_the_application_is_ignored_with_a_warning(flags):
    command = read_flags(["app:app", *flags, "other", "more"])
    assert command.given["wsgi_app"].value == "app:app"
    assert command.notes == tuple(f"command line: {word!r} is ignored: app:app is served" for word in ("other", "more"))


def test_the_source_of_other_arguments_is_named_for_all():
    assert read_flags(["-w", "3", "app"], "environment X").given == {
        "workers": Given("3", "environment X"),
        "wsgi_app": Given("app", "environment X"),
    }


def test_help_and_version_are_asked_for():
    assert read_flags(["-h"]) == CommandLine({}, help=True)
    assert read_flags(["--version"]) == CommandLine({}, version=True)


def test_what_is_read_plainly_is_what_argparse_reads():
    """Random command lines, of which a third is plain; the seed is in the failure."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    flags = [flag for setting in SETTINGS for flag in setting.flags]
    plain = 0
    for _ in range(2000):
        arguments = [argument for _ in range(chance.randrange(5)) for argument in part(chance, flags)]
        values = _read_plainly(arguments)
        if values is None:
            continue
        plain += 1
        assert values == Parser().read(arguments), f"seed {seed}: {arguments}"
    assert plain > 300


def part(chance, flags):
    """Return one argument or two, mostly sensible."""
    flag = chance.choice(flags)
    value = chance.choice(["3", "app:app", "a b", "a=b", "", "-", "-1", "-w", "--", "x"])
    return chance.choice(
        [[value], [flag], [flag, value], [flag, value], [f"{flag}={value}"], [flag + value], [flag[:-1]]]
    )


def test_help_names_every_flag_under_its_section(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    text = help_text()
    sections = [setting.section for setting in SETTINGS if setting.flags]
    places = [text.index(f"\n{section}:\n") for section in dict.fromkeys(sections)]
    assert places == sorted(places)
    for setting in SETTINGS:
        assert all(flag in text for flag in setting.flags)
        assert setting.help in text or not setting.flags
    assert "Threads per worker. Default: 1. (No effect here: " in text
    assert "Default: ['127.0.0.1:8000']." in text
