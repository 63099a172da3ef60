"""Settings of the documentation."""

import noisyfit

project = "noisyfit"
author = "The noisyfit developers"
copyright = "2026, The noisyfit developers"
version = release = noisyfit.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("noisyfit",),
    "reference_url": {"noisyfit": None},
    "filename_pattern": "/plot_",
    "ignore_pattern": "demo",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}
exclude_patterns = ["_build", "design.md"]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
default_role = "code"
numpydoc_show_class_members = False
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
html_title = "noisyfit"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
nitpicky = True
