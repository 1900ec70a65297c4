"""The application as hooks know it, by gunicorn's methods: ``server.app`` and ``worker.app``.

It loads the application that the configuration names at the first call of ``wsgi()``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from geventwsgi.config.loader import load_app, load_paste, make_importable
from geventwsgi.errors import ConfigError
from geventwsgi.observe.outputs.own_loggers import take_back
from geventwsgi.system.foreign_code import ForeignCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from geventwsgi.config.sources import Config


def _nothing() -> None:
    """Do nothing."""


class Application:
    """An application and the configuration that it is loaded by.

    :param cfg: None in a master that has not read it yet.
    :param callable: the application, where it is there already.
    :param prepare: called before it is loaded (a master must be patched first).
    :param settle: called after it is loaded (a master shares its memory with the workers).
    """

    def __init__(
        self,
        cfg: Config | None = None,
        callable: Any = None,  # noqa: A002 - gunicorn's name
        *,
        prepare: Callable[[], object] = _nothing,
        settle: Callable[[], object] = _nothing,
    ) -> None:
        self._cfg = cfg
        #: The application; None until it is loaded.
        self.callable = callable
        self._prepare = prepare
        self._settle = settle

    def __getattr__(self, name: str) -> Any:
        """Raise an error for attributes that only gunicorn's has."""
        raise AttributeError(
            f"the application object has no {name!r} here: it has callable, cfg, wsgi(), load() and chdir()",
            name=name,
            obj=self,
        )

    @property
    def cfg(self) -> Config:
        """The configuration."""
        if self._cfg is None:
            raise AttributeError("the configuration has not been read yet", name="cfg", obj=self)
        return self._cfg

    @cfg.setter
    def cfg(self, cfg: Config) -> None:
        self._cfg = cfg

    @property
    def app_uri(self) -> str | None:
        """The name by which it is loaded."""
        return self.cfg.paste or self.cfg.wsgi_app  # type: ignore[no-any-return]  # a setting is of its kind's type

    def under(self, cfg: Config) -> Application:
        """Return the same application for a worker that runs with ``cfg``. This one stays unloaded if it is."""
        if cfg is self._cfg:
            return self
        return Application(cfg, self.callable, prepare=self._prepare, settle=self._settle)

    def move_to_worker(self) -> Application:
        """Return the same application in a worker's process, which is prepared already."""
        self._prepare = self._settle = _nothing
        return self

    def wsgi(self) -> Any:
        """Return the application, loaded at the first call.

        :raises ConfigError: the configuration names none.
        :raises AppLoadError: it cannot be loaded.
        """
        if self.callable is None:
            self._prepare()
            with ForeignCode():
                self.callable = self.load()
            take_back()
            self._settle()
        return self.callable

    def load(self) -> Any:
        """Load the application and return it.

        :raises ConfigError: the configuration names none.
        :raises AppLoadError: it cannot be loaded.
        """
        if self.cfg.paste:
            return load_paste(self.cfg.paste, self.cfg.paste_global_conf)
        if not self.cfg.wsgi_app:
            raise ConfigError("no application is named: write MODULE:APP on the command line or set wsgi_app")
        return load_app(self.cfg.wsgi_app)

    def chdir(self) -> None:
        """Change to the directory of ``chdir``, and let modules be found there."""
        os.chdir(self.cfg.chdir)
        make_importable(self.cfg.chdir)
