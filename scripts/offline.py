"""A Sphinx extension: what the book's pages would fetch from elsewhere comes from the site itself."""

import importlib.util
import shutil
from pathlib import Path

from sphinx.application import Sphinx

COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def local_badge(app: Sphinx, page: str, source: list[str]) -> None:
    """Point a page's Colab badge (the right one for Colab and GitHub) at the book's own picture of it."""
    up = "../" * page.count("/")
    source[0] = source[0].replace(COLAB_BADGE, f"{up}book/images/colab-badge.svg")


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy MathJax and its fonts, 2 MB of the package's 24, to where `mathjax_path` says.

    Copied after the build: Jupyter Book puts every script of a book's own `_static` on every page.
    """
    if error is None and app.builder.format == "html":
        package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
        source = Path(package, "static", "mathjax")
        target = Path(app.outdir, "_static", "mathjax")
        fonts = Path("output", "chtml", "fonts")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "tex-chtml.js", target)
        shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("source-read", local_badge)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
