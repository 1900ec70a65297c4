"""Sphinx's configuration; `tox -e docs` builds the pages with warnings as errors."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "geventwsgi"
author = "the geventwsgi authors"
copyright = author
release = version = installed_version("geventwsgi")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {"description": "a master, gevent workers, a greenlet per connection", "fixed_sidebar": True}
