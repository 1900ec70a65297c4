"""``reload``: saving a file puts it into service, and a file that is wrong harms nobody."""

from __future__ import annotations

import sys

import pytest

from tests.support import inflight
from tests.support.process import Gwsgi
from tests.support.waiting import wait_until

ENGINES = ["poll", *(["inotify"] if sys.platform.startswith("linux") else [])]
APP = """
import helper
def app(environ, start_response):
    if environ["PATH_INFO"] == "/late":
        import late
    start_response("200 OK", [])
    return [helper.WORD]
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project.py").write_text(APP)
    helper = tmp_path / "helper.py"
    helper.write_text("WORD = b'one'\n")
    return helper


def served(project, *flags, **options):
    return Gwsgi("--reload", *flags, app="project:app", cwd=project.parent, **options)


def text_of(server, path="/"):
    return inflight.get(server.url, path).text


def becomes(server, text):
    wait_until(lambda: text_of(server) == text, 20, lambda: f"{text!r}:\n{server.log_text()}")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_saved_module_is_served(project, engine):
    with served(project, "-w", "2", "--reload-engine", engine) as server:
        assert f"source files are watched ({engine})" in server.log_text()
        assert text_of(server) == "one"
        project.write_text("WORD = b'two'\n")  # as long as before, and perhaps in the same second
        server.wait_log(f"Reload: {project} changed")
        becomes(server, "two")


@pytest.mark.parametrize("engine", ENGINES)
def test_wrong_code_keeps_the_old_code_and_its_repair_is_noticed(project, engine):
    with served(project, "--reload-engine", engine) as server:
        for count, wrong in enumerate(("WORD = \n", "import nothing_of_the_kind\n", "1 / 0\n"), 1):
            project.write_text(wrong)
            server.wait_log("Reload failed, the old configuration and workers stay", count=count, timeout=20)
            assert text_of(server) == "one"
        project.write_text("WORD = b'two'\n")
        becomes(server, "two")
        assert server.log_text().count("Reload failed") == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_file_that_the_old_code_never_had_is_watched_once_it_fails(project, engine):
    with served(project, "--reload-engine", engine) as server:
        fresh = project.with_name("fresh.py")
        fresh.write_text("WORD = \n")
        project.write_text("from fresh import WORD\n")
        server.wait_log("Reload failed", timeout=20)
        fresh.write_text("WORD = b'fresh'\n")
        becomes(server, "fresh")


def test_a_module_that_is_imported_late_is_watched(project):
    late = project.with_name("late.py")
    late.write_text("")
    with served(project, "--reload-engine", "poll") as server:
        text_of(server, "/late")

        def noticed():
            late.write_text(f"# {len(late.read_text())}" + "#" * len(late.read_text()))
            return f"Reload: {late} changed" in server.log_text()

        wait_until(noticed, 20)


def test_extra_files_and_the_configuration_file_are_watched(project):
    (project.parent / "templates" / "deep").mkdir(parents=True)
    config = "raw_env = ['GWSGI_A=1']\n"
    with served(project, "--reload-extra-file", "templates/**/*.html", config=config) as server:
        template = project.parent / "templates" / "deep" / "page.html"
        template.write_text("<p>")
        server.wait_log(f"Reload: {template} changed", timeout=20)
        server.wait_log("Reload: done")
        server.config_file.write_text("workers = 2\n")
        server.wait_log(f"Reload: {server.config_file} changed", timeout=20)
        server.wait_log("Reload: done, 2 new workers serve")


def test_many_files_saved_at_once_are_one_reload(project):
    others = [project.with_name(f"other{number}.py") for number in range(5)]
    for other in others:
        other.write_text("")
    project.write_text("import other0, other1, other2, other3, other4\nWORD = b'one'\n")
    with served(project) as server:
        for other in others:
            other.write_text("x = 1\n")
        project.write_text("import other0, other1, other2, other3, other4\nWORD = b'two'\n")
        becomes(server, "two")
        assert "changed" in server.log_text()
        assert server.log_text().count("reading the configuration") == 1
        assert " and 3 others changed" in server.log_text()


def test_reload_is_switched_on_and_off_by_hup(project):
    with Gwsgi(app="project:app", cwd=project.parent, config="") as server:
        server.config_file.write_text("reload = True\n")
        server.signal(1)
        server.wait_log("Reload: done")
        project.write_text("WORD = b'two'\n")
        becomes(server, "two")
        server.wait_log("Reload: done", count=2)
        server.config_file.write_text("reload = False\n")
        server.wait_log("Reload: done", count=3, timeout=20)
        project.write_text("WORD = b'three'\n")
        server.signal(1)
        server.wait_log("Reload: done", count=4)
        becomes(server, "three")
        assert server.log_text().count(f"{project} changed") == 1


def test_preload_gives_way_to_reload(project):
    with served(project, "--preload") as server:
        assert "preload_app has no effect together with reload" in server.log_text()
        project.write_text("WORD = b'two'\n")
        becomes(server, "two")


def test_processes_leave_no_compiled_file_behind(project):
    with served(project) as server:
        text_of(server)
    assert not list(project.parent.rglob("*.pyc"))
