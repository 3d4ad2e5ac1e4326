"""A Sphinx extension: each page asks its own site alone, and for nothing that it does not use."""

import importlib.util
import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
# Light or dark before the first paint; the theme decides at the end of the page, which flashes.
EARLY_THEME = (
    "if (!['light', 'dark'].includes(document.documentElement.dataset.theme)) document.documentElement.dataset.theme"
    " = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';"
)
# What scrolls sideways on a phone is reached by keyboard too, while it scrolls. The theme does so for code alone.
REACHABLE = """
addEventListener("DOMContentLoaded", () => {
  const boxes = "figure, .drawn, .pst-scrollable-table-container, [style*='overflow-x']";
  const reach = () => document.querySelectorAll(boxes).forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  ["load", "resize"].forEach((when) => addEventListener(when, reach));
});
"""
UNUSED = re.compile(
    # The icons come from a font already; their 1.5 MB of drawings in JavaScript would come on top.
    r'<script src="[^"]*/fontawesome/[^"]*/js/[^"]*"></script>'
    # Thebe fetches itself from a CDN when asked to run code, and nothing here asks.
    r'|<script type="text/x-thebe-config">.*?</script>|<script>kernelName = [^<]*</script>'
    r'|<link [^>]*sphinx-thebe\.css[^>]*>'
    # Screen readers expect list items inside, and docutils writes none.
    r'|(?<=<div) role="list"(?= class="citation-list")|(?<=") role="doc-biblioentry"',
    re.DOTALL,
)  # fmt: skip


def local_badge(app: Sphinx, page: str, source: list[str]) -> None:
    """Point a page's Colab badge (the right one for Colab and GitHub) at the book's own picture of it."""
    up = "../" * page.count("/")
    source[0] = source[0].replace(COLAB_BADGE, f"{up}book/images/colab-badge.svg")


def box_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Put each picture that a cell drew into a box of its own, which scrolls on a phone; see `_static/book.css`."""
    for image in list(doctree.findall(nodes.image)):
        if "cell_output" in image.parent.get("classes", []):
            image.replace_self(nodes.container("", image.deepcopy(), classes=["drawn"]))


def fit_scripts(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Give a page the scripts that it has use for: no Thebe, MathJax for formulas, an editor for exercises."""
    context["default_mode"] = "auto"
    idle = ["thebe"] if 'class="math' in context.get("body", "") else ["thebe", "mathjax"]

    def used(script) -> bool:
        text = f"{script.filename or ''} {script.attributes.get('body', '')}".lower()
        return not any(name in text for name in idle)

    if re.search(r'class="cell[^"]* tag_answer-', context.get("body", "")):
        # Where an exercise can be answered in the page; Python itself is fetched when the first one is tried.
        app.add_js_file("python/try.mjs", type="module")
    context["script_files"] = list(filter(used, context["script_files"]))


def copy_mathjax(app: Sphinx) -> None:
    """Copy MathJax and its fonts, 2 MB of the package's 24, to where `mathjax_path` says.

    Copied after the build: Jupyter Book puts every script of a book's own `_static` on every page.
    """
    package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    source = Path(package, "static", "mathjax")
    target = Path(app.outdir, "_static", "mathjax")
    fonts = Path("output", "chtml", "fonts")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "tex-chtml.js", target)
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


def finish(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        copy_mathjax(app)
        for page in Path(app.outdir).rglob("*.html"):
            page.write_text(UNUSED.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.add_js_file(None, body=EARLY_THEME, priority=100)
    app.add_js_file(None, body=REACHABLE)
    app.connect("source-read", local_badge)
    app.connect("doctree-resolved", box_figures)
    app.connect("html-page-context", fit_scripts, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
