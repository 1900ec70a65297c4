"""Sphinx's configuration; `tox -e docs` builds the pages with warnings as errors."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "geventwsgi"
author = "the geventwsgi authors"
copyright = author
release = version = installed_version("geventwsgi")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# A class's own text tells of its parameters; what a method returns is in the text as well.
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["socketio"]

html_theme = "furo"
html_title = "geventwsgi"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
html_favicon = "static/icon.svg"
