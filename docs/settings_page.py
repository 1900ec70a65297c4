"""Write ``settings.md`` from the settings table: ``python docs/settings_page.py``."""
# ruff: noqa: INP001 - a script beside the pages that it writes

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from geventwsgi.config.settings import SETTINGS

if TYPE_CHECKING:
    from geventwsgi.config.setting import Setting

PAGE = Path(__file__).with_name("settings.md")

HEAD = """\
<!-- Written by docs/settings_page.py from geventwsgi/config/settings.py: change the table, not this page. -->

# Settings

A setting has the value of the last of these sources that sets it:

1. its default, which the environment variables `PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` and `SENDFILE` change;
2. the configuration file: that of `--config`, or else `./gwsgi.conf.py`, or else `./gunicorn.conf.py`;
3. the environment variable `GUNICORN_CMD_ARGS`, and then `GWSGI_CMD_ARGS`, with flags as on the command line;
4. the command line's flags.

`gwsgi --print-config` shows each value with its source. `gwsgi --check-config MODULE:APP` also loads the application,
and prints every error that would prevent a start, except temporary ones such as an address in use.

The configuration file is Python. Its variables are settings, and its functions are hooks. A variable that is `None`
does not change its setting:

```python
bind = ["127.0.0.1:8000", "unix:/run/app.sock"]
workers = "auto"

def when_ready(server):
    server.log.info("ready")
```

If a value is wrong, or the file fails, one line names the flag, the variable, or the file and line, and the exit
status is 2. A variable that looks like a misspelt setting causes a warning.

Names, flags and defaults are gunicorn's, so its configuration files load unchanged. These things differ:

- `worker_class` is `gevent`, `keepalive` is 75 seconds, `./gwsgi.conf.py` is searched first.
- The deadlines, `limit_request_body`, `limit_request_queue`, `limit_connections`, `on_disconnect`, `half_close`,
  `greenlet_per_request`, `accept_balance`, `affinity`, `health_path`, `drain_delay` and `debug` are added.
- Seconds may have a fraction. A list may replace gunicorn's text with commas; `bind` takes both.
- Settings without an effect are accepted with a warning, and marked below.
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for section, settings in groupby(SETTINGS, lambda setting: setting.section):
        parts += [f"\n## {section}\n", *map(entry, settings)]
    return "".join(parts)


def entry(setting: Setting) -> str:
    """Return the part of the page that describes one setting."""
    lines = [setting.help, f"- Default: `{setting.default_text}`"]
    if callable(setting.default):
        lines[1] = f"- Signature: `def {setting.name}({setting.kind.metavar})`"
    if setting.flags:
        argument = f" {setting.kind.metavar}" if setting.kind.metavar else ""
        lines.append("- Flag: " + ", ".join(f"`{flag}{argument}`" for flag in setting.flags))
    if setting.variable:
        lines.append(f"- Environment: `{setting.variable}` changes the default")
    if not setting.effective:
        lines.append(f"- **No effect {setting.no_effect}**")
    return f"\n### {setting.name}\n\n{lines[0]}\n\n" + "\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
