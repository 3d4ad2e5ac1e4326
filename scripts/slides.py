"""Write slides from executed notebooks: `python scripts/slides.py build/slides build/executed/mini/09_*.ipynb`.

One HTML file a notebook, which asks nobody for anything. A heading becomes the title of a slide, the sentence before
a cell its text; the cell stands beside its output, and below what was seen. What else the notebook says there waits
in a fold. Solutions stay out. The arrow keys turn the slides, and printing gives one a page.
"""

import base64
import io
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from editions import FOLD
from markdown_it import MarkdownIt
from matplotlib.mathtext import math_to_image
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

# What is not for a room: how to install, and which profile.
IDLE = re.compile(r"%pip install")
IDLE_TAGS = {"parameters", "injected-parameters", "remove-cell"}
AFTER_A_SENTENCE = re.compile(r"(?<=[.!?])(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)[\"”)*]*\s+(?=[A-Z*`“\"\[(])")
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")
SCRIPT = """
addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1}[event.key];
  if (!step || event.target.closest("input, select, audio, .ser-confusion")) return;
  event.preventDefault();
  const slides = [...document.querySelectorAll("main > section")];
  const here = slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
  slides[Math.min(Math.max(here + step, 0), slides.length - 1)].scrollIntoView();
});
"""
STYLE = """
:root { color-scheme: light; font: clamp(14px, 2.1vmin + 4px, 30px)/1.4 system-ui, sans-serif; color: #1b1f24; }
html { scroll-snap-type: y mandatory; }
body { margin: 0; }
section { box-sizing: border-box; height: 100vh; overflow: auto; padding: 4vmin 6vmin; scroll-snap-align: start;
  display: flex; flex-direction: column; gap: 0.6em; position: relative; border-bottom: 1px solid #d0d4da; }
section > * { margin: 0; flex: none; }
section.title { justify-content: center; }
h1 { font-size: 2em; } h2 { font-size: 1.4em; color: #0f4c5c; } p, ul, ol { margin: 0.3em 0; }
.cell { display: grid; gap: 1em; align-items: start; }
@media (min-width: 60em) { .cell.both { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr); } }
.cell > * { min-width: 0; overflow-x: auto; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.72em; }
.code { background: #f5f6f8; border-left: 0.25em solid #0f4c5c; padding: 0.5em 0.7em; }
.output > img, .output > svg { display: block; max-width: 100%; max-height: 66vh; }
.output { font-size: 0.85em; }
table { border-collapse: collapse; } th, td { padding: 0.15em 0.6em; text-align: right; }
tbody tr:nth-child(odd) { background: #f2f3f6; }
details { font-size: 0.7em; color: #49535f; margin-top: auto; } summary { cursor: pointer; }
footer { position: absolute; right: 1.5em; top: 1em; font-size: 0.6em; color: #49535f; }
img.math { vertical-align: middle; }
@page { size: 320mm 180mm; margin: 0; }
@media print {
  html { scroll-snap-type: none; font-size: 15px; }
  section { height: auto; min-height: 178mm; overflow: visible; break-after: page; border: 0; }
  .cell.both { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr); }
  .cell, tr, figure { break-inside: avoid; }
  details, audio { display: none; }
}
"""


def formula(text: str, options: dict) -> str:
    """Return a formula as a picture inside the page, so that a deck needs no script and no font."""
    file = io.BytesIO()
    math_to_image(f"${text}$", file, dpi=72, format="svg")
    picture = base64.b64encode(file.getvalue()).decode()
    return f'<img class="math" alt="{escape(text)}" src="data:image/svg+xml;base64,{picture}">'


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, renderer=formula)


def paragraphs(text: str) -> list[str]:
    """Return the plain paragraphs of Markdown, without headings, lists, tables and code."""
    tokens = MARKDOWN.parse(text)
    return [
        after.content
        for token, after in zip(tokens, tokens[1:], strict=False)
        if token.type == "paragraph_open" and token.level == 0
    ]


def in_short(text: str, last: bool) -> str:
    """Return the first sentences of Markdown, or the last, until they say something: a dozen words."""
    plain = paragraphs(text)
    if not plain:
        return ""
    sentences = AFTER_A_SENTENCE.split(" ".join(plain[-1 if last else 0].split()))
    kept: list[str] = []
    while sentences and len(" ".join(kept).split()) < 12:
        kept = [sentences.pop(), *kept] if last else [*kept, sentences.pop(0)]
    return " ".join(kept)


def shown(output: nbformat.NotebookNode, alt: str) -> str:
    """Return one output as HTML: what a page of the book would show of it, warnings and live widgets left out."""
    if output.output_type == "stream":
        return f"<pre>{escape(output.text)}</pre>" if output.name == "stdout" else ""
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data:
        return ""
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/markdown" in data:
        return MARKDOWN.render(data["text/markdown"])
    return f"<pre>{escape(data['text/plain'])}</pre>" if "text/plain" in data else ""


@dataclass
class Slide:
    """What stands on a slide, in this order; ``notes`` is all that the notebook says there."""

    title: str
    text: str
    cell: str = ""
    seen: str = ""
    notes: str = ""

    def html(self, footer: str) -> str:
        letters = re.compile(r"\W")
        more = letters.sub("", self.notes) not in letters.sub("", self.text + self.seen)
        fold = f"<details><summary>What the notebook says here</summary>{MARKDOWN.render(self.notes)}</details>"
        return (
            f"<section><h2>{MARKDOWN.renderInline(self.title)}</h2>{MARKDOWN.render(self.text)}{self.cell}"
            f"{MARKDOWN.render(self.seen)}{fold * more}{footer}</section>"
        )


def cell_of(cell: nbformat.NotebookNode) -> str:
    """Return a code cell beside its outputs."""
    tags = cell.metadata.get("tags", [])
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    outputs = "" if "remove-output" in tags else "".join(shown(output, alt) for output in cell.outputs)
    code = highlight(cell.source, PythonLexer(), HtmlFormatter(nowrap=True))
    parts = [f'<pre class="code">{code}</pre>'] if "hide-input" not in tags else []
    parts += [f'<div class="output">{outputs}</div>'] if outputs else []
    return f'<div class="cell{" both" * (len(parts) == 2)}">{"".join(parts)}</div>'


def slides(cells: list[nbformat.NotebookNode], title: str) -> list[Slide]:
    """Return the slides of the cells after a notebook's opening, up to its section Next.

    ``title`` heads the slides before the first section.
    """
    found: list[Slide] = []
    before = ""

    def close() -> None:
        """Bring what stands after the last cell of a section to that cell, or to a slide of its own."""
        if found and found[-1].title == title and found[-1].cell:
            found[-1].seen = in_short(before, last=False)
            found[-1].notes += f"\n\n{before}"
        elif before:
            points = re.search(r"^(?:[-*]|\d+\.) .+(?:\n(?:(?:[-*]|\d+\.) | +).+)*", before, re.MULTILINE)
            found.append(Slide(title, points[0] if points else in_short(before, last=False), notes=before))

    for cell in cells:
        if cell.cell_type == "code":
            if not IDLE.search(cell.source) and not IDLE_TAGS & set(cell.metadata.get("tags", [])):
                # The question of an exercise is the slide; elsewhere it is the sentence that leads to the cell.
                text = before if "xercise" in title else in_short(before, last=True)
                found.append(Slide(title, text, cell_of(cell), notes=before))
            before = ""
            continue
        text = LOCAL_LINK.sub(r"\1", FOLD.sub("", cell.source)).strip()
        for part in re.split(r"^(?=#{2,3} )", text, flags=re.MULTILINE):
            if head := re.match(r"#+ (.+)\n*", part):
                close()
                title, before, part = head[1], "", part[head.end() :]
                if title == "Next":
                    return found
            before = f"{before}\n\n{part}".strip()
    return found


def deck(notebook: nbformat.NotebookNode) -> str:
    """Return the slides of an executed notebook as one HTML page."""
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    opening = "\n\n".join(cell.source for cell in notebook.cells[:first])
    name = re.match(r"# (.+)", opening)[1]
    aims = re.search(r"\*\*You will\*\*\s+(?:[-*] .+\n?(?: +.+\n?)*)+", opening)
    every = slides(notebook.cells[first:], name)
    pages = [
        one.html(f"<footer>{escape(name)} · {i} of {len(every) + 1}</footer>") for i, one in enumerate(every, start=2)
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{HtmlFormatter().get_style_defs('.code')}</style></head><body><main>"
        f'<section class="title"><h1>{MARKDOWN.renderInline(name)}</h1>{MARKDOWN.render(aims[0])}</section>'
        f"{''.join(pages)}</main><script>{SCRIPT}</script></body></html>\n"
    )


def main() -> None:
    folder, executed = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    folder.mkdir(parents=True, exist_ok=True)
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        (folder / f"{path.stem}.html").write_text(deck(notebook), encoding="utf-8")
    print(f"{len(executed)} decks are in {folder}; open one in a browser, and print it there to have it on paper.")


if __name__ == "__main__":
    main()
