"""Settings of the documentation."""

import noisyfit

project = "noisyfit"
author = "The noisyfit developers"
copyright = "2026, The noisyfit developers"
version = release = noisyfit.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc"]
exclude_patterns = ["_build", "design.md"]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
default_role = "code"
numpydoc_show_class_members = False
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
html_title = "noisyfit"
nitpicky = False
