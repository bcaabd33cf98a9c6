"""The documentation site. `make docs` builds it in docs/_build/html, without network access."""

import inspect
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpydoc.xref

import halfstep as hs

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "halfstep"
author = "The halfstep developers"
project_copyright = f"{datetime.now(UTC).year}, {author}"
version = release = hs.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "llms",
    "mathml",
    "names",
]
exclude_patterns = ["_build", "**/GALLERY_HEADER.rst"]
nitpicky = True
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # of functions in the settings of the gallery

# Pages in Markdown, which are read on GitHub, too
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4

# The API reference, from docstrings
default_role = "py:obj"  # a link if it is the name of a public object
nitpick_ignore_regex = [
    ("py:obj", r"[a-z_]\w*"),  # parameters and attributes
    ("py:obj", r"(copy|dataclasses|datetime|ray|numpy)\..*"),  # other packages
]
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_mock_imports = ["pyspark", "ray"]  # large, and needed for their signatures only
autodoc_typehints = "none"  # types are in the docstrings
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_validation_checks = {"GL03", "GL05", "GL06", "GL07", "GL10", "PR02", "PR05", "SS01"}
numpydoc_validation_exclude = {r"halfstep\.spark\.ALS$"}  # its parameters are those of MLlib
numpydoc.xref.DEFAULT_LINKS.clear()  # into the documentation of Python and NumPy, which is not here
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {name: f"halfstep.{name}" for name in hs.__all__ if inspect.isclass(getattr(hs, name))}
numpydoc_xref_ignore = "all"  # words that are not among these

# The gallery: scripts that are run by the build, which fails if one of them does
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "show_signature": False,
    "image_srcset": ["2x"],
    "reset_modules": ("gallery_style.set_style",),
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = "halfstep"
html_static_path = ["_static"]
html_css_files = ["halfstep.css"]
html_favicon = "../src/halfstep/serve/page/icon.svg"
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": []}
html_theme_options: dict[str, Any] = {
    "show_prev_next": False,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
    "secondary_sidebar_items": ["page-toc"],
}
copybutton_exclude = ".linenos, .gp, .go"  # prompts and output
html_math_renderer = "mathml"
