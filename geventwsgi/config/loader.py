"""From the names of Python objects to the objects: ``pkg.mod:app`` -> a WSGI application, ``pkg.mod:Class`` -> a class.

Each error is one line with cause and cure. An exception of the imported code becomes the ``__cause__`` of the error,
with a traceback that begins in that code, for the caller to print. Nothing here depends on a setting.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from keyword import iskeyword
from types import FunctionType
from typing import TYPE_CHECKING, Any

from geventwsgi.config.nearest import did_you_mean, one_line
from geventwsgi.errors import ENDS, AppLoadError, ConfigError, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType, TracebackType

#: Names of an application whose name is left out, in the order of search.
APPLICATION_NAMES = ("application", "app")
#: Names of functions that often make an application, to suggest where none is found.
FACTORY_NAMES = ("create_app", "make_app", "create_application", "get_wsgi_application")


def load_app(spec: str) -> Callable[..., Any]:
    """Return the WSGI application that `spec` names.

    :param spec: ``pkg.mod`` (its ``application``, or else its ``app``), ``pkg.mod:name``, ``pkg.mod:name.attribute``,
        or ``pkg.mod:factory("literal", key=1)``, which is called once.
    :raises AppLoadError: one line; ``__cause__`` is the application's own exception, if it raised one.
    """
    module_name, colon, expression = (part.strip() for part in spec.partition(":"))
    path, arguments = _parse(expression, spec) if colon else ([], None)
    _refuse_file_name(module_name, expression, spec)
    module = _imported(module_name, AppLoadError)
    if not colon:
        return _checked(_conventional(module), spec)
    found = _attribute(module, path, AppLoadError)
    if arguments is not None:
        return _checked(_made(found, path, arguments, spec), spec)
    return _checked(found, spec, suggest=f"{spec}()")


def load_paste(location: str, variables: Mapping[str, str]) -> Callable[..., Any]:
    """Return the application of a PasteDeploy file.

    :param location: its absolute path, which ``#`` and the application's name may follow.
    :param variables: name -> value of ``%(name)s`` in the file.
    :raises AppLoadError: one line; ``__cause__`` is the exception of the failed code.
    """
    try:
        deploy = importlib.import_module("paste.deploy")
    except ImportError as error:
        raise AppLoadError(f"--paste needs PasteDeploy ({error}): pip install geventwsgi[paste]") from None
    try:
        app = deploy.loadapp(f"config:{location}", relative_to=os.getcwd(), global_conf=dict(variables))
    except ENDS:
        raise
    except BaseException as cause:
        raise AppLoadError(f"{location!r} failed: {_described(cause)}") from cause
    return _checked(app, location)


def load_object(spec: Any, what: str) -> Any:
    """Return the object that ``MODULE:NAME`` or ``MODULE.NAME`` names; anything but text is returned as it is.

    :param what: the setting's name, for the error.
    :raises ConfigError: one line; ``__cause__`` is the exception of the imported code, if it raised one.
    """
    if not isinstance(spec, str):
        return spec
    module_name, separator, path = spec.partition(":")
    if not separator:
        module_name, separator, path = spec.rpartition(".")
    if not (module_name and path):
        raise ConfigError(f"{what} must be MODULE:NAME, not {spec!r}")
    return _attribute(_imported(module_name, ConfigError, f"{what}: "), path.split("."), ConfigError, f"{what}: ")


# --- the text that names an application


def _parse(expression: str, spec: str) -> tuple[list[str], tuple[list[Any], dict[str, Any]] | None]:
    """Return a dotted name, and the arguments to call it with (None: it is not called)."""
    path = expression.split(".")
    if all(name.isascii() and name.isidentifier() and not iskeyword(name) for name in path):
        return path, None
    from geventwsgi.config.expression import read_expression

    return read_expression(expression, spec)


def _refuse_file_name(module_name: str, expression: str, spec: str) -> None:
    if not (module_name.endswith(".py") or "/" in module_name or os.sep in module_name):
        return
    from pathlib import PurePath  # for the error alone

    path = PurePath(module_name.removesuffix(".py"))
    name = f":{expression}" if expression else ""
    if path.is_absolute() or ".." in path.parts:
        cure = f"write --chdir {path.parent} {path.name}{name}"
    else:
        cure = f"did you mean {'.'.join(path.parts) + name!r}?"
    raise AppLoadError(f"{spec!r} names a file, not a module; {cure}")


# --- finding it


def _imported(name: str, error: type[AppLoadError | ConfigError], prefix: str = "") -> ModuleType:
    """Import a module; distinguish a missing module from one that fails."""
    if not name or name.startswith("."):
        raise error(f"{prefix}{name!r} is no module's name: write PACKAGE.MODULE")
    try:
        return importlib.import_module(name)
    except ENDS:
        raise
    except BaseException as cause:
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing and f"{name}.".startswith(f"{missing}."):
            raise error(f"{prefix}no module named {missing!r}{_module_hint(missing)}") from None
        cause.__traceback__ = _own_frames(cause.__traceback__)
        raise error(f"{prefix}importing {name!r} failed: {_described(cause)}") from cause


def _module_hint(name: str) -> str:
    parent, _, _ = name.rpartition(".")
    if parent:
        return f" ({parent!r} is there, but has no such module)"
    import pkgutil  # for the error alone

    here = os.getcwd()
    hint = did_you_mean(name, (module.name for module in pkgutil.iter_modules([here])))
    return f" in {here} or on Python's path{hint or '; set --chdir or --pythonpath'}"


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Drop the frames of this module and of the import machinery from the outer end."""
    while trace and trace.tb_frame.f_code.co_filename.startswith((__file__, importlib.__file__, "<frozen importlib")):
        trace = trace.tb_next
    return trace


def _described(cause: BaseException) -> str:
    """Return the exception and the place that it comes from, in one line."""
    if isinstance(cause, SyntaxError):
        return f"{type(cause).__name__}: {cause.msg} ({cause.filename}, line {cause.lineno})"
    if isinstance(cause, SystemExit) and (cause.code is None or type(cause.code) in (int, str)):
        text = f"it calls sys.exit({cause.code!r})"
    else:
        text = one_line(described(cause))
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not frame.filename.startswith("<frozen ")]
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _attribute(found: Any, path: Iterable[str], error: type[AppLoadError | ConfigError], prefix: str = "") -> Any:
    owner = f"module {found.__name__!r}"
    for name in path:
        try:
            found = getattr(found, name)
        except AttributeError:
            public = [known for known in dir(found) if not known.startswith("__")]
            raise error(f"{prefix}{owner} has no {name!r}{did_you_mean(name, public)}") from None
        owner = repr(name)
    return found


def _conventional(module: ModuleType) -> Any:
    for name in APPLICATION_NAMES:
        if hasattr(module, name):
            return getattr(module, name)
    factory = next((f"{name}()" for name in FACTORY_NAMES if hasattr(module, name)), "NAME")
    raise AppLoadError(
        f"module {module.__name__!r} has neither 'application' nor 'app'; write {module.__name__}:{factory}"
    )


# --- making and checking it


def _made(factory: Any, path: list[str], called_with: tuple[list[Any], dict[str, Any]], spec: str) -> Any:
    arguments, keywords = called_with
    if not callable(factory):
        raise AppLoadError(f"{'.'.join(path)!r} in {spec!r} is {_a(factory)}, which cannot be called")
    if problem := _mismatch(factory, *arguments, **keywords):
        raise AppLoadError(f"{spec!r} does not fit the factory's parameters: {problem}")
    try:
        made = factory(*arguments, **keywords)
    except ENDS:
        raise
    except BaseException as cause:
        cause.__traceback__ = _own_frames(cause.__traceback__)
        raise AppLoadError(f"{spec!r} failed: {_described(cause)}") from cause
    if made is None:
        raise AppLoadError(f"{spec!r} returned None; a factory must return the application")
    return made


def _checked(app: Any, spec: str, suggest: str = "") -> Callable[..., Any]:
    """Return `app` if its signature allows a call with ``(environ, start_response)``."""
    if not callable(app):
        raise AppLoadError(f"{spec!r} is {_a(app)}, which cannot be called: name a WSGI application")
    if not _mismatch(app, {}, None):
        return app  # type: ignore[no-any-return]  # PEP 3333 says what it returns, its annotations need not
    if not _mismatch(app, {}, None, None):
        raise AppLoadError(f"{spec!r} takes three arguments, as ASGI applications do: only WSGI ones are served")
    cure = f"; is it a factory? Then write {suggest!r}" if suggest and not _mismatch(app) else ""
    raise AppLoadError(f"{spec!r} cannot be called with (environ, start_response): {_mismatch(app, {}, None)}{cure}")


def _mismatch(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """Return why the arguments do not fit the function's signature; "" if they fit or if there is no signature."""
    if isinstance(function, FunctionType) and not keywords and _takes(function, len(arguments)):
        return ""
    import inspect  # slow to import, and most applications are seen to by the lines above

    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        return str(error)
    return ""


def _takes(function: FunctionType, count: int) -> bool:
    """Return whether a function has exactly this number of parameters, all of them positional."""
    return function.__code__.co_argcount == count and not function.__code__.co_kwonlyargcount


def _a(found: object) -> str:
    name = "None" if found is None else type(found).__name__
    return name if found is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def make_importable(*directories: str) -> None:
    """Put directories at the beginning of the import path, in their order, except those that are on it already."""
    absolute = [os.path.abspath(directory) for directory in directories]
    sys.path[:0] = [directory for directory in dict.fromkeys(absolute) if directory not in sys.path]
