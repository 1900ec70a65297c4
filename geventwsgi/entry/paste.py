"""``pserve`` and others of PasteDeploy: ``[server:main] use = egg:geventwsgi`` in an ini file.

The keys of that section are settings by their names; ``host`` and ``port`` make ``bind``, ``config`` names a
configuration file. The program that has read the file passes the application.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from geventwsgi.config.flags import CommandLine
from geventwsgi.config.setting import Given
from geventwsgi.config.settings import BY_NAME, nearest_setting
from geventwsgi.config.sources import load, paste_defaults
from geventwsgi.entry.embed import serve_with
from geventwsgi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geventwsgi.config.sources import Config


def serve(app: Callable[..., Any], global_conf: Mapping[str, str], **section: str) -> None:
    """Serve ``app`` until a signal ends it; the runner of ``egg:geventwsgi``.

    :param global_conf: the file's defaults and its place.
    :param section: the keys of the server's section.
    :raises SystemExit: the server could not start; with its exit status.
    """
    environ, directory = dict(os.environ), os.getcwd()

    def load_config() -> Config:
        file = global_conf.get("__file__", "")
        given = _given(section, f"{os.path.basename(file) or 'ini file'}, [server]")
        return load(CommandLine(given), environ, directory, defaults=paste_defaults(file) if file else None)

    status = serve_with(load_config, app)
    if status:
        sys.exit(status)


def _given(section: Mapping[str, str], source: str) -> dict[str, Given]:
    values = dict(section)
    host, port = values.pop("host", ""), values.pop("port", "")
    if port:
        values["bind"] = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    elif host:
        values["bind"] = host
    for name in values:
        if name.lower() not in BY_NAME:
            meant = nearest_setting(name)
            raise ConfigError(
                f"{source}: no setting is named {name!r}" + (f"; did you mean {meant!r}?" if meant else "")
            )
    return {name.lower(): Given(value, source) for name, value in values.items()}
