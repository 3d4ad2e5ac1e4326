"""Write slides from executed notebooks: `python scripts/slides.py build/slides build/executed/mini/09_*.ipynb`.

One HTML file a notebook, which asks nobody for anything. A heading becomes the title of a slide, the sentence before
a cell its text; the cell stands beside its output, and below what was seen. What else the notebook says there waits
in a fold. Solutions stay out. The arrow keys turn the slides, and printing gives one a page.

Given all notebooks, it writes the decks of the prose chapters and quizzes too, the decks of the sessions that the
instructor kit plans, and a page that lists them all. A row of a plan links its pages, and a comment behind them
names the sections to show: ``<!-- slides: first heading ¦ second heading -->``.
"""

import base64
import io
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
import yaml
from editions import FOLD
from markdown_it import MarkdownIt
from matplotlib.mathtext import math_to_image
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL.Image import open as opened
from pybtex.database import parse_file
from pybtex.richtext import Text
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

# What is not for a room: how to install, and which profile.
IDLE = re.compile(r"%pip install")
AIMS = re.compile(r"\*\*You will\*\*\s+(?:[-*] .+\n?(?: +.+\n?)*)+")
BOOK = Path(__file__).resolve().parents[1] / "book"
IDLE_TAGS = {"parameters", "injected-parameters", "remove-cell"}
AFTER_A_SENTENCE = re.compile(r"(?<=[.!?])(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.)[\"”)*]*\s+(?=[A-Z*`“\"\[(])")
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")
# What only a book has: sources, words of the glossary, comments.
CITE = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
ROLE = re.compile(r"\{\w+\}`([^`<]+?)(?: *<[^>]*>)?`")
COMMENT = re.compile(r" *<!--.*?-->", re.DOTALL)
ANSWER = re.compile(r"<details>.*?</details>", re.DOTALL)
# Pages to look things up in, which nobody reads out.
LOOKED_UP = {"glossary", "reference", "troubleshooting", "bibliography", "changelog", "instructor"}
PAGE = re.compile(r"\[([^\]]+)\]\((?:\.\./notebooks/)?(\w+)\.(?:md|ipynb)\)")
SECTIONS = re.compile(r"<!-- slides: (.+?) -->")
SCRIPT = """
document.querySelectorAll("audio[data-sound]:not([src])").forEach((audio) => {
  audio.src = document.querySelector(`audio[data-sound="${audio.dataset.sound}"][src]`).src;
});
addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1}[event.key];
  if (!step || event.target.closest("input, select, .ser-confusion")) return;
  event.preventDefault();
  const slides = [...document.querySelectorAll("main > section")];
  const here = slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
  slides[Math.min(Math.max(here + step, 0), slides.length - 1)].scrollIntoView();
});
// What scrolls is reached by keyboard, while it scrolls.
const reach = () => document.querySelectorAll("section, .cell > *, [style*='overflow']").forEach((box) => {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  else box.removeAttribute("tabindex");
});
["load", "resize"].forEach((when) => addEventListener(when, reach));
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
.words :is(th, td) { text-align: left; vertical-align: top; }
tbody tr:nth-child(odd) { background: #f2f3f6; }
details { font-size: 0.7em; color: #49535f; margin-top: auto; } summary { cursor: pointer; }
details.quiz { font-size: 1em; color: inherit; margin: 0; } section.pause { background: #0f4c5c; color: #fff; }
section.pause { justify-content: center; } section.pause :is(h2, a, footer) { color: inherit; }
figure { margin: 0; } figcaption { font-size: 0.9em; }
figure > img { display: block; width: 100%; max-height: 64vh; object-fit: contain; object-position: left; }
section.said > :is(p, ul, ol) { font-size: 1.25em; max-width: 46em; } section.said li { margin-bottom: 0.4em; }
footer { position: absolute; right: 1.5em; top: 1em; font-size: 0.6em; color: #49535f; }
img.math { vertical-align: middle; }
@page { size: 320mm 180mm; margin: 0; }
@media print {
  html { scroll-snap-type: none; font-size: 15px; }
  section { height: auto; min-height: 178mm; overflow: visible; break-after: page; border: 0; }
  .cell.both { grid-template-columns: minmax(0, 4fr) minmax(0, 5fr); }
  .cell, tr, figure { break-inside: avoid; }
  details, audio, .ser-sound :is(button, .time) { display: none; }
}
"""


def formula(text: str, options: dict) -> str:
    """Return a formula as a picture inside the page, so that a deck needs no script and no font."""
    file = io.BytesIO()
    math_to_image(f"${text}$", file, dpi=72, format="svg")
    picture = base64.b64encode(file.getvalue()).decode()
    return f'<img class="math" alt="{escape(text)}" src="data:image/svg+xml;base64,{picture}">'


MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, renderer=formula)
# Of what a cell printed: names of runs and clips may stand there, which are no tags and no formulas.
PRINTED_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


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


def lighter(picture: str) -> str:
    """Return a PNG in base64 as WebP without loss, at less than half of its bytes."""
    file = io.BytesIO()
    opened(io.BytesIO(base64.b64decode(picture))).save(file, "WEBP", lossless=True, method=6)
    return base64.b64encode(file.getvalue()).decode()


def once(html: str) -> str:
    """Return the slides of a deck with each sound once, and once the script that makes players of all of them."""
    players = re.findall(r"<script>(?:(?!</script>).)*forEach\(sound\);}\)\(\);</script>", html, re.DOTALL)
    for script in set(players):
        before, _, after = html.rpartition(script)
        html = before.replace(script, "") + script + after
    seen: dict[str, int] = {}

    def place(sound: re.Match) -> str:
        known = sound[1] in seen
        number = seen.setdefault(sound[1], len(seen))
        return f'data-sound="{number}"' + ("" if known else f" {sound[0]}")

    return re.sub(r'(?<= )src="(data:audio/[^"]+)"', place, html)


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
        return f'<img alt="{escape(alt)}" src="data:image/webp;base64,{lighter(data["image/png"])}">'
    if "text/markdown" in data:
        return PRINTED_MARKDOWN.render(data["text/markdown"])
    return f"<pre>{escape(data['text/plain'])}</pre>" if "text/plain" in data else ""


@dataclass
class Slide:
    """What stands on a slide, in this order; ``notes`` is all that the notebook says there."""

    title: str
    text: str
    cell: str = ""
    seen: str = ""
    notes: str = ""
    kind: str = ""

    def html(self, footer: str) -> str:
        letters = re.compile(r"\W")
        more = letters.sub("", self.notes) not in letters.sub("", self.text + self.seen)
        fold = f"<details><summary>What the page says here</summary>{MARKDOWN.render(self.notes)}</details>"
        kind = self.kind or ("" if self.cell else "said")
        return (
            f'<section class="{kind}"><h2>{MARKDOWN.renderInline(self.title)}</h2>{MARKDOWN.render(self.text)}'
            f"{self.cell}{MARKDOWN.render(self.seen)}{fold * more}{footer}</section>"
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


@dataclass
class Deck:
    """The slides of a page or of a session; ``aims`` is the Markdown below the title."""

    title: str
    aims: str
    slides: list[Slide]

    def html(self) -> str:
        """Return the deck as one HTML page."""
        count, name = len(self.slides) + 1, escape(self.title.replace("`", ""))
        pages = [one.html(f"<footer>{name} · {i} of {count}</footer>") for i, one in enumerate(self.slides, start=2)]
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}{HtmlFormatter().get_style_defs('.code')}</style></head><body><main>"
            f'<section class="title"><h1>{MARKDOWN.renderInline(self.title)}</h1>{MARKDOWN.render(self.aims)}</section>'
            f"{once(''.join(pages))}</main><script>{SCRIPT}</script></body></html>\n"
        )


def of_notebook(notebook: nbformat.NotebookNode) -> Deck:
    """Return the deck of an executed notebook."""
    first = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    opening = "\n\n".join(cell.source for cell in notebook.cells[:first])
    name = re.match(r"# (.+)", opening)[1]
    return Deck(name, AIMS.search(opening)[0], slides(notebook.cells[first:], name))


def sources() -> dict[str, str]:
    """Return what stands for each source of the bibliography on a slide: author and year."""
    found = {}
    for key, entry in parse_file(BOOK / "references.bib").entries.items():
        people = [str(Text.from_latex(" ".join(who.last_names))) for who in entry.persons.get("author", [])]
        who = people[0] + (" et al." if len(people) > 2 else f" and {people[1]}" if len(people) == 2 else "")
        found[key] = f"{who} {entry.fields['year']}"
    return found


def picture(file: Path, alt: str) -> str:
    """Return a drawing of the book as part of the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def block_shown(kind: str, source: str) -> str:
    """Return a table, a figure, a control or code of a chapter as HTML; of anything else nothing."""
    if kind == "table_open":
        return f'<div class="cell words"><div class="output">{MARKDOWN.render(source)}</div></div>'
    if kind != "fence":
        return ""
    head, *rest = source.splitlines()
    options = dict(re.findall(r"^:(\w+): (.+)$", source, re.MULTILINE))
    if head.startswith("```{raw}"):
        control = (BOOK / options["file"]).read_text(encoding="utf-8")
        return f'<div class="cell"><div class="output">{control}</div></div>'
    if head.startswith("```{figure}"):
        words = [line for line in rest[:-1] if not line.startswith(":")]
        drawn = picture(BOOK / head.split()[1], options["alt"])
        said = f"<figcaption>{MARKDOWN.renderInline(' '.join(words).strip())}</figcaption>"
        return f'<div class="cell"><figure class="output">{drawn}{said}</figure></div>'
    return f'<div class="cell"><pre class="code">{escape(chr(10).join(rest[:-1]))}</pre></div>'


def gist(text: str) -> str:
    """Return the lists of Markdown, and the first sentences of its paragraphs, as points where there are several."""
    found = blocks(text)
    lists = [kind.endswith("list_open") for kind, _ in found]
    said = [source if whole else in_short(source, last=False) for whole, (_, source) in zip(lists, found, strict=True)]
    points = len(said) > 1 and not any(lists)
    return "\n".join(f"- {part}" for part in said if part) if points else "\n\n".join(said)


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the blocks of Markdown: the type of the token that opens each, and its source."""
    lines = text.splitlines()
    opening = [token for token in MARKDOWN.parse(text) if token.level == 0 and token.map]
    return [(token.type, "\n".join(lines[slice(*token.map)]).strip()) for token in opening]


def of_chapter(text: str) -> Deck:
    """Return the deck of a prose chapter: a slide for each table, figure and control, and one for what is only said."""
    known = sources()
    text = CITE.sub(lambda keys: f"({'; '.join(known[key.strip()] for key in keys[1].split(','))})", text)
    text = LOCAL_LINK.sub(r"\1", ROLE.sub(r"\1", COMMENT.sub("", ANSWER.sub("", text))))
    name, aims = re.match(r"# (.+)", text)[1], AIMS.search(text)[0]
    text = re.sub(r"^\*\*Needs:\*\*.*?(?=\n\n)", "", text.replace(aims, ""), flags=re.MULTILINE | re.DOTALL)
    found: list[Slide] = []
    for part in re.split(r"^(?=#{1,3} )", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        title, before, shows = head.lstrip("# "), "", 0
        if title == "Next":
            break
        if "xercise" in title:  # the question, and in a quiz its answers, folded
            found.append(Slide(title, body))
            continue
        for kind, source in blocks(body):
            if cell := block_shown(kind, source):
                found.append(Slide(title, gist(before), cell, notes=before))
                before, shows = "", shows + 1
            else:
                before += f"\n\n{source}"
        if before.strip() and shows and len(gist(before).split()) < 45:
            found[-1].seen = gist(before)
            found[-1].notes += before
        elif before.strip():
            found.append(Slide(title, gist(before), notes=before))
    return Deck(name, aims, found)


def sessions(text: str, decks: dict[str, Deck]) -> dict[str, Deck]:
    """Return the decks of the plans in the instructor kit; of a plan by weeks, one a week."""
    found = {}
    plans = text[text.index("\n## Three plans") : text.index("\n## Objectives")]
    for name, body in re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", plans, re.MULTILINE | re.DOTALL):
        table = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
        header, _, *rows = [[cell.strip() for cell in line] for line in table]
        weekly = header[0] == "Week"
        session: list[Slide] = []
        for cells in rows:
            row = " ".join(cells)
            pages = [decks[page] for _, page in PAGE.findall(COMMENT.sub("", cells[-1] if not weekly else row))]
            wanted = [title.strip() for names in SECTIONS.findall(row) for title in names.split("¦")]
            shown_here = [slide for deck in pages for slide in deck.slides if not wanted or slide.title in wanted]
            if absent := set(wanted) - {slide.title for slide in shown_here}:
                sys.exit(f"The plan “{name}” shows sections that its pages do not have: {', '.join(absent)}")
            said = [LOCAL_LINK.sub(r"\1", COMMENT.sub("", cell)) for cell in cells]
            if weekly:
                title = f"Week {said[0]}: {said[1]}"
                todo = [f"- **{what}:** {cell}" for what, cell in zip(header[2:], said[2:], strict=True)]
                found[f"week_{said[0]}"] = Deck(title, "\n".join(todo), shown_here)
            else:
                unit = " minutes" if header[0] == "Minutes" else ""
                session += [Slide(f"{said[0]}{unit}: {said[1]}", said[-1], kind="pause"), *shown_here]
        if not weekly:
            agenda = "\n".join(f"- {slide.title}" for slide in session if slide.kind == "pause")
            found[re.sub(r"\W+", "_", name.lower())] = Deck(name, agenda, session)
    return found


def listing(groups: dict[str, dict[str, Deck]]) -> str:
    """Return the page that leads to the decks."""
    parts = []
    for name, decks in groups.items():
        items = [
            f'<li><a href="{file}.html">{MARKDOWN.renderInline(deck.title)}</a>, {len(deck.slides) + 1} slides</li>'
            for file, deck in decks.items()
        ]
        parts.append(f"<h2>{name}</h2><ul>{''.join(items)}</ul>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Slides</title><meta name="viewport" '
        'content="width=device-width, initial-scale=1"><style>:root{color-scheme:light dark;font:1.1em/1.5 '
        "system-ui,sans-serif}body{max-width:44em;margin:2em auto;padding:0 1em}</style></head><body><main>"
        "<h1>Slides</h1><p>Each deck is one file, made from the text and the cells of the book. Arrow keys turn the "
        f"slides; printing gives one on a page.</p>{''.join(parts)}</main></body></html>\n"
    )


def main() -> None:
    folder, executed = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    folder.mkdir(parents=True, exist_ok=True)
    decks = {path.stem: of_notebook(nbformat.read(path, as_version=4)) for path in executed}
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    pages = [page.rpartition("/")[2] for page in pages]
    if set(decks) >= {page for page in pages if page[0].isdigit()}:
        chapters = {page: BOOK / f"{page}.md" for page in pages if (BOOK / f"{page}.md").is_file()}
        texts = {page: path.read_text(encoding="utf-8") for page, path in chapters.items()}
        decks |= {page: of_chapter(text) for page, text in texts.items() if page not in LOOKED_UP}
        planned = sessions(texts["instructor"], decks)
        decks["landing_page"] = decks.pop("index")  # the list of the decks is the folder's index
        pages = ["landing_page", *pages]
        groups = {"Sessions": planned, "Pages": {page: decks[page] for page in pages if page in decks}}
        (folder / "index.html").write_text(listing(groups), encoding="utf-8")
        decks |= planned
    for name, deck in decks.items():
        (folder / f"{name}.html").write_text(deck.html(), encoding="utf-8")
    print(f"{len(decks)} decks are in {folder}; open one in a browser, and print it there to have it on paper.")


if __name__ == "__main__":
    main()
