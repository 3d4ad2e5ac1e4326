"""A Sphinx extension: the reference of serlib's names, made of its docstrings whenever the book is built.

A page asks for a module as ``{names} judge.metrics``. What stands there then is the module's docstring, every flat name
``ser.NAME`` that comes from it, and what the page names besides: the classes that verbs return, functions of a module.
"""

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, NumpyDocstring

import serlib

NAMES = re.compile(r"^```\{names\} ([\w.]+)((?: \w+)*)\n```$", re.MULTILINE)
STUB = Path(serlib.__file__).with_suffix(".pyi")


def flat_names(module: str | None = None) -> list[str]:
    """Return the names ``ser.NAME`` in the order of __init__.pyi: all of them, or those that come from a module."""
    lines = re.findall(r"^from \.([\w.]+) import (\w+) as", STUB.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for home, name in lines if module in (None, home)]


def entry(path: str, value: object) -> list[str]:
    """Return the directive that writes one entry: of a class with its public parts, of a constant with its value."""
    if inspect.isclass(value):
        return [f".. autoclass:: {path}", "   :members:", "   :member-order: bysource", ""]
    if callable(value):
        return [f".. autofunction:: {path}", ""]
    home, name = path.rsplit(".", 1)
    head = [f".. py:data:: {name}", f"   :module: {home}"]
    if isinstance(value, dict):
        return [*head, "", f"   A table with the rows {', '.join(f'``{key}``' for key in value)}.", ""]
    return [*head, f"   :value: {value!r}", ""]


def entries(module: str, more: list[str]) -> str:
    """Return what stands in the place of ``{names} module more``, in reStructuredText."""
    home = import_module(f"serlib.{module}")
    shown = {f"serlib.{module}.{name}": getattr(home, name) for name in more}
    shown |= {f"ser.{name}": getattr(serlib, name) for name in flat_names(module)}
    lines = [f".. automodule:: serlib.{module}", "", ".. py:currentmodule:: None", ""]
    described = [path for path, value in shown.items() if callable(value)]
    if len(described) > 2:  # a table of contents, each with the first sentence of its docstring
        lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {path}" for path in described), ""]
    for path, value in shown.items():
        lines += entry(path, value)
    return "\n".join(lines)


def expand(text: str) -> str:
    """Return the text of a page with its modules in their places."""
    return NAMES.sub(lambda found: f"```{{eval-rst}}\n{entries(found[1], found[2].split())}\n```", text)


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = expand(source[0])


def sections(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Turn numpydoc's sections into lists. A property has none, and napoleon takes a colon in it for a type."""
    if what != "property":
        lines[:] = NumpyDocstring(lines, Config(), app, what, name, value, options).lines()


def setup(app: Sphinx) -> dict[str, bool]:
    # A reader writes ser.NAME in every notebook, so that is what stands here, and what a link to a name is called.
    sys.modules["ser"] = serlib
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.autosummary")
    app.config.autosummary_generate = False  # a table of links, and no pages of its own
    app.config.autodoc_typehints_format = "short"
    # What other libraries are called is documented elsewhere, and a build asks no other server where.
    app.config.nitpick_ignore_regex = [(r"py:.*", r"(?!ser\b|serlib\b).*")]
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
