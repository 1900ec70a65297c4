"""Write ``settings.md`` from the settings table: ``python docs/settings_page.py``."""
# ruff: noqa: INP001 - a script beside the pages that it writes

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from geventwsgi.config.settings import SETTINGS, Setting

PAGE = Path(__file__).with_name("settings.md")

HEAD = """\
<!-- Written by docs/settings_page.py from geventwsgi/config/settings.py: change the table, not this page. -->

# Settings

The value of a setting comes from the last of these that gives one:

1. its default, which `PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` and `SENDFILE` alter;
2. the configuration file: what `--config` names, or else `./gwsgi.conf.py`, or else `./gunicorn.conf.py`;
3. the environment variable `GUNICORN_CMD_ARGS`, and then `GWSGI_CMD_ARGS`, which hold flags as the command line does;
4. the command line's flags.

`gwsgi --print-config` shows each value with its source. `gwsgi --check-config MODULE:APP` also loads the application,
and tells of all that would keep the server from starting, but for what depends on the moment, as an address that is in
use.

The configuration file is Python. Settings are its variables, hooks its functions. A variable that is `None` leaves its
setting alone:

```python
bind = ["127.0.0.1:8000", "unix:/run/app.sock"]
workers = "auto"

def when_ready(server):
    server.log.info("ready")
```

A wrong value, or a file that fails, is one line that names the flag, the variable, or the file and line; the exit
status is 2. A variable that could be a misspelt setting is a warning.

Names, flags and defaults are gunicorn's, so that its configuration files load as they are. What differs:

- `worker_class` is `gevent`, `keepalive` is 75 seconds, `./gwsgi.conf.py` is looked for first.
- The deadlines, `limit_request_body`, `limit_request_queue`, `limit_connections`, `on_disconnect`, `half_close`,
  `greenlet_per_request`, `accept_balance`, `health_path`, `drain_delay` and `debug` are added.
- Seconds may have a fraction. A list may stand where gunicorn takes text with commas, and `bind` takes both.
- What has no effect is accepted with a warning, and marked here.
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
        lines.append(f"- Environment: `{setting.variable}` alters the default")
    if not setting.effective:
        lines.append(f"- **No effect {setting.no_effect}**")
    return f"\n### {setting.name}\n\n{lines[0]}\n\n" + "\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
