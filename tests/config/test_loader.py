from __future__ import annotations

import sys
import traceback
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventwsgi.config.loader import load_app, load_object
from geventwsgi.errors import AppLoadError, ConfigError

MODULES = {
    "appmod": """\
        import functools, types

        def app(environ, start_response):
            return [b"app"]

        class Application:
            def __init__(self, *arguments, **keywords):
                self.made = arguments, keywords
            def __call__(self, environ, start_response):
                return []
            @classmethod
            def create(cls, name):
                return cls(name)

        def create_app(name, debug=False, *, level=1):
            return Application(name, debug=debug, level=level)

        def make():
            return Application()

        @functools.wraps(make)
        def wrapped(environ, start_response):
            return []

        nested = types.SimpleNamespace(inner=types.SimpleNamespace(app=app))
        settings = {"a": 1}
        number = 3
        untold = type
        nothing = None

        async def asgi(scope, receive, send):
            pass

        def needs_type(value):
            raise TypeError("the application's own\\nsecond line")

        def returns_none():
            pass

        def returns_text():
            return "text"

        def exits():
            raise SystemExit("no database")

        def one(environ):
            return []
    """,
    "both": "def app(e, s): pass\ndef application(e, s): pass",
    "only_factory": "def create_app(): pass",
    "neither": "x = 1",
    "importing": "import json\nimport nosuchmodule",
    "importing_own": "from appmod import nosuchname",
    "failing": "def f():\n    return 1 / 0\n\nf()",
    "exiting": "import sys\nsys.exit(1)",
    "broken": "x = 1\ndef app(:\n",
    "package/__init__": "",
    "package/wsgi": "def application(e, s): pass",
    "package/importing": "import package.nosuch",
}


PHRASES = {
    "look": "; set --chdir or --pythonpath",
    "write": "write MODULE:NAME, or MODULE:FACTORY(...) with literal arguments",
    "literal": " is no literal: a factory takes text, numbers, True, False, None and lists or dictionaries of them",
    "uncallable": "cannot be called with (environ, start_response): too many positional arguments",
    "by_zero": "ZeroDivisionError: division by zero",
    "unfit": "does not fit the factory's parameters",
    "no_module": "ModuleNotFoundError: No module named",
}


@pytest.fixture(autouse=True)
def _modules(tmp_path, monkeypatch):
    for name, text in MODULES.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("appmod", "app"),
        ("appmod:app", "app"),
        (" appmod : app ", "app"),
        ("both", "application"),
        ("package.wsgi", "application"),
        ("package.wsgi:application", "application"),
        ("appmod:nested.inner.app", "app"),
        ("appmod:wrapped", "make"),
        ("appmod:Application", "Application"),
        ("appmod:untold", "type"),
    ],
)
def test_finds_the_application(spec, name):
    assert load_app(spec).__name__ == name


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ('appmod:create_app("prod", debug=False)', (("prod",), {"debug": False, "level": 1})),
        ("appmod:create_app('a:b', level=[1, {'x': None}])", (("a:b",), {"debug": False, "level": [1, {"x": None}]})),
        ("appmod:make()", ((), {})),
        ("appmod:Application.create('x')", (("x",), {})),
        ("appmod:Application(1)", ((1,), {})),
    ],
)  # fmt: skip
def test_calls_a_factory_with_literal_arguments(spec, made):
    assert load_app(spec).made == made


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        # the module
        ("nosuchmodule:app", "no module named 'nosuchmodule' in {here} or on Python's path{look}"),
        ("apmod", "no module named 'apmod' in {here} or on Python's path; did you mean 'appmod'?"),
        ("package.wsgy", "no module named 'package.wsgy' ('package' is there, but has no such module)"),
        ("appmod.app", "no module named 'appmod.app' ('appmod' is there, but has no such module)"),
        ("", "'' is no module's name: write PACKAGE.MODULE"),
        (":app", "'' is no module's name: write PACKAGE.MODULE"),
        (".appmod:app", "'.appmod' is no module's name: write PACKAGE.MODULE"),
        # a file
        ("appmod.py", "'appmod.py' names a file, not a module; did you mean 'appmod'?"),
        ("appmod.py:app", "'appmod.py:app' names a file, not a module; did you mean 'appmod:app'?"),
        ("package/wsgi.py", "'package/wsgi.py' names a file, not a module; did you mean 'package.wsgi'?"),
        ("./package/wsgi:app", "'./package/wsgi:app' names a file, not a module; did you mean 'package.wsgi:app'?"),
        ("/srv/app.py:x", "'/srv/app.py:x' names a file, not a module; write --chdir /srv app:x"),
        ("../app.py", "'../app.py' names a file, not a module; write --chdir .. app"),
        # the name
        ("appmod:ap", "module 'appmod' has no 'ap'; did you mean 'app'?"),
        ("appmod:zzz", "module 'appmod' has no 'zzz'"),
        ("appmod:nested.iner.app", "'nested' has no 'iner'; did you mean 'inner'?"),
        ("neither", "module 'neither' has neither 'application' nor 'app'; write neither:NAME"),
        ("only_factory", "module 'only_factory' has neither 'application' nor 'app'; write only_factory:create_app()"),
        # the expression
        ("appmod:", "cannot read '' in 'appmod:': {write}"),
        ("appmod:a b", "cannot read 'a b' in 'appmod:a b': {write}"),
        ("appmod:x[0]", "cannot read 'x[0]' in 'appmod:x[0]': {write}"),
        ("appmod:f()()", "cannot read 'f()()' in 'appmod:f()()': {write}"),
        ("appmod:f(x)", "x in 'appmod:f(x)'{literal}"),
        ("appmod:f(*[1])", "*[1] in 'appmod:f(*[1])'{literal}"),
        ("appmod:f({[]: 1})", "{{[]: 1}} in 'appmod:f({{[]: 1}})'{literal}"),
        ("appmod:f(**{})", "** in 'appmod:f(**{{}})' is not supported: name each argument of the factory"),
        # what it names
        ("appmod:settings", "'appmod:settings' is a dict, which cannot be called: name a WSGI application"),
        ("appmod:number", "'appmod:number' is an int, which cannot be called: name a WSGI application"),
        ("appmod:nothing", "'appmod:nothing' is None, which cannot be called: name a WSGI application"),
        ("appmod:settings()", "'settings' in 'appmod:settings()' is a dict, which cannot be called"),
        ("appmod:asgi", "'appmod:asgi' takes three arguments, as ASGI applications do: only WSGI ones are served"),
        ("appmod:make", "'appmod:make' {uncallable}; is it a factory? Then write 'appmod:make()'"),
        ("appmod:one", "'appmod:one' {uncallable}"),
        # the factory
        ("appmod:create_app()", "'appmod:create_app()' {unfit}: missing a required argument: 'name'"),
        ("appmod:make(1)", "'appmod:make(1)' {unfit}: too many positional arguments"),
        ("appmod:make(x=1)", "'appmod:make(x=1)' {unfit}: got an unexpected keyword argument 'x'"),
        ("appmod:returns_none()", "'appmod:returns_none()' returned None; a factory must return the application"),
        ("appmod:returns_text()", "'appmod:returns_text()' is a str, which cannot be called: name a WSGI application"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_the_name_and_how_to_write_it(spec, line, tmp_path):
    with pytest.raises(AppLoadError) as caught:
        load_app(spec)
    assert str(caught.value) == line.format(here=tmp_path, **PHRASES)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("spec", "line", "place", "cause"),
    [
        ("importing", "{failed} {no_module} 'nosuchmodule'", "importing.py, line 2", ImportError),
        (
            "package.importing",
            "{failed} {no_module} 'package.nosuch'",
            "package/importing.py, line 1",
            ModuleNotFoundError,
        ),
        ("failing", "{failed} {by_zero}", "failing.py, line 2", ZeroDivisionError),
        ("exiting", "{failed} it calls sys.exit(1)", "exiting.py, line 2", SystemExit),
        ("appmod:needs_type(1)", "{spec} failed: TypeError: the application's own", "appmod.py, line 35", TypeError),
        ("appmod:exits()", "{spec} failed: it calls sys.exit('no database')", "appmod.py, line 44", SystemExit),
    ],
)
def test_a_failure_of_the_application_keeps_its_cause(spec, line, place, cause, tmp_path):
    with pytest.raises(AppLoadError) as caught:
        load_app(spec)
    expected = line.format(failed=f"importing {spec!r} failed:", spec=repr(spec), **PHRASES)
    assert str(caught.value) == f"{expected} ({tmp_path}/{place})"
    assert isinstance(caught.value.__cause__, cause)


def test_a_syntax_error_is_told_with_file_and_line(tmp_path):
    with pytest.raises(AppLoadError, match=r"importing 'broken' failed: SyntaxError: .*broken\.py, line 2\)$"):
        load_app("broken")


def test_a_name_missing_inside_the_application_is_its_own_failure():
    with pytest.raises(AppLoadError, match=r"ImportError: cannot import name 'nosuchname' from 'appmod'"):
        load_app("importing_own")


@pytest.mark.parametrize("spec", ["failing", "importing", "appmod:needs_type(1)"])
def test_the_traceback_begins_in_the_application(spec, tmp_path):
    with pytest.raises(AppLoadError) as caught:
        load_app(spec)
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert frames[0].filename.startswith(str(tmp_path))


def test_a_keyboard_interrupt_is_nobodys_failure(tmp_path):
    (tmp_path / "interrupted.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_app("interrupted")


@given(expression=st.text(alphabet="apx.()[]{}=,'\"1*:lambd \n\\"))
def test_any_expression_names_an_application_or_is_an_error(expression):
    with pytest.raises(AppLoadError):
        load_app(f"neither:{expression}")


# --- other objects


@pytest.mark.parametrize("spec", ["appmod:Application", "appmod.Application"])
def test_loads_a_class_by_either_spelling(spec):
    assert load_object(spec, "logger_class").__name__ == "Application"


def test_what_is_no_text_is_the_object_itself():
    assert load_object(dict, "logger_class") is dict


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("Application", "logger_class must be MODULE:NAME, not 'Application'"),
        ("appmod:", "logger_class must be MODULE:NAME, not 'appmod:'"),
        ("appmod:Aplication", "logger_class: module 'appmod' has no 'Aplication'; did you mean 'Application'?"),
        ("nosuch.Logger", "logger_class: no module named 'nosuch' in {here} or on Python's path{look}"),
        ("failing:Logger", "logger_class: importing 'failing' failed: {by_zero} ({here}/failing.py, line 2)"),
    ],
)  # fmt: skip
def test_an_object_that_cannot_be_loaded_is_a_config_error(spec, line, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_object(spec, "logger_class")
    assert str(caught.value) == line.format(here=tmp_path, **PHRASES)
