"""How Sphinx builds the site from these pages and the package's docstrings, without a network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

from reconeval import __version__

project = "reconeval"
author = "the reconeval developers"
copyright = author  # noqa: A001  (the name that Sphinx reads)
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
]
exclude_patterns = ["_build", "_extensions"]

# The pages are read on the forge, too: only what both understand, and the toctree.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

default_role = "code"
napoleon_google_docstring = False
napoleon_use_ivar = True  # a dataclass's attributes stand in its docstring alone
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"reconeval {release}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
copybutton_exclude = ".linenos, .gp, .go"
