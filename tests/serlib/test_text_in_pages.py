"""What a corpus, a file, a run or a checkpoint is called is text in every page that serlib makes, whatever it holds.

Hostile names go through everything that returns HTML, and a real browser says what became of them: no script ran, no
element and no attribute came in by them, nothing was asked of another place, and each of them can be read as it is.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from IPython.display import HTML

from serlib.data import audio, splits
from serlib.data.audit import audit
from serlib.judge import metrics, predictions, scoreboard
from serlib.show import players
from serlib.train import callbacks

ROOT = Path(__file__).parents[2]
HOSTILE = (
    '<img src=x onerror="window.pwned=1">',
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script><!--<script>",
    "</td></tr></table></select><iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "\"' autofocus onfocus=window.pwned=1 onmouseover=window.pwned=1 x='\"",
    "</caption></figcaption></title></textarea><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "${window.pwned=1}`+(window.pwned=1)+`\\",
    "&lt;b&gt; &amp; &#60;",
    "$x^2$ \\(y\\) $data $caption",
    "\u2028 and \u2029;window.pwned=1//",
    "__proto__",
    "constructor",
    'a|b,c"}]',
)
ALL_AT_ONCE = " ".join(HOSTILE)


@pytest.fixture
def corpus(tmp_path) -> pd.DataFrame:
    """Two clips of each hostile emotion, by hostile actors, with hostile names and intensities."""
    time = np.arange(audio.RATE // 2) / audio.RATE
    rows = {}
    for i, label in enumerate(HOSTILE):
        for take in (0, 1):
            path = tmp_path / f"{i}{take}.wav"
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * (150 + 20 * i + take) * time), audio.RATE)
            rows[f"{label} {take}"] = {
                "path": str(path), "actor": HOSTILE[i - 1], "sex": HOSTILE[i - 2], "emotion": label,
                "intensity": HOSTILE[i - 3], "statement": 0, "repetition": take, "seconds": 0.5,
            }  # fmt: skip
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("clip")
    frame.attrs = {"name": ALL_AT_ONCE, "synthetic": False, "misnamed": list(HOSTILE), "unreadable": {}}
    return frame


@pytest.fixture
def voter(corpus) -> pd.DataFrame:
    """Right on every first take, and on every second hears the next label."""
    labels = sorted(HOSTILE)
    heard = [(labels.index(row.emotion) + row.repetition) % len(labels) for row in corpus.itertuples()]
    frame = predictions.make(corpus, 0.5 * np.eye(len(labels))[heard] + 0.5 / len(labels), labels, "test")
    frame.attrs["name"] = ALL_AT_ONCE
    return frame


def of_player(corpus, voter) -> HTML:
    return players.player(corpus["path"].iloc[0], ALL_AT_ONCE)


def of_listen(corpus, voter) -> HTML:
    rows = corpus.rename(columns={"intensity": ALL_AT_ONCE})
    return players.listen(rows, columns=["emotion", ALL_AT_ONCE], caption=ALL_AT_ONCE)


def of_mistakes(corpus, voter) -> HTML:
    return players.listen(predictions.mistakes(voter, corpus), caption=ALL_AT_ONCE)


def of_browse(corpus, voter) -> HTML:
    rows = corpus.rename(columns={"intensity": ALL_AT_ONCE})
    return players.browse(rows, columns=["emotion", "actor", ALL_AT_ONCE], caption=ALL_AT_ONCE)


def of_listening_test(corpus, voter) -> HTML:
    return players.listening_test(corpus, ALL_AT_ONCE)


def of_listen_confusion(corpus, voter) -> HTML:
    return players.listen_confusion(voter, corpus)


def of_audit(corpus, voter) -> HTML:
    corpus.attrs["unreadable"] = dict.fromkeys(HOSTILE, "cut")
    return HTML(audit(corpus)._repr_html_())


def of_leakage(corpus, voter) -> HTML:
    train, rest = corpus[corpus["repetition"] == 0], corpus[corpus["repetition"] == 1]
    split = splits.Split(ALL_AT_ONCE, train, rest.iloc[::2], rest.iloc[1::2])
    return HTML(splits.leakage(split, [[train.index[1], rest.index[1]]])._repr_html_())


def of_report(corpus, voter) -> HTML:
    return HTML(metrics.report(voter)._repr_html_())


def of_scoreboard(corpus, voter) -> HTML:
    systems = [scoreboard.System("02", label, voter, label, True, label) for label in HOSTILE]
    return HTML(scoreboard.scoreboard(systems, notes=HOSTILE)._repr_html_())


def of_progress(corpus, voter) -> HTML:
    lines: list[str] = []
    progress = callbacks.Progress(ALL_AT_ONCE)
    progress.show = lines.append
    progress.on_step_end(None, SimpleNamespace(global_step=1, max_steps=2), None)
    progress.on_train_end(None, SimpleNamespace(global_step=2, max_steps=2), None)
    return HTML("<br>".join(lines))


# What makes HTML, by module and name, and the pages above that show it.
PAGES = {
    "show.players.player": [of_player],
    "show.players.listen": [of_listen, of_mistakes],
    "show.players.browse": [of_browse],
    "show.players.listen_confusion": [of_listen_confusion],
    "show.players.listening_test": [of_listening_test],
    "show.players.explorable": [],  # takes nothing but one of two names
    "data.audit.Audit": [of_audit],
    "data.splits.Leakage": [of_leakage],
    "judge.metrics.Report": [of_report],
    "judge.scoreboard.Scoreboard": [of_scoreboard],
    "train.callbacks.Progress": [of_progress],
}


def test_everything_that_makes_html_is_here():
    """A function that returns HTML or imports it, or a class that shows itself as HTML, has a page above."""
    found = set()
    for path in (ROOT / "serlib").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / "serlib").with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                makes = node.returns is not None and ast.unparse(node.returns) in ("HTML", "Styler")
            else:
                inner = ast.unparse(node) if isinstance(node, ast.ClassDef) else ""
                makes = "def _repr_html_" in inner or "import HTML" in inner
            if makes:
                found.add(f"{module}.{node.name}")
    assert found == set(PAGES)


def opened(browser, html: str):
    """The page with this HTML in it, as a notebook or the book shows it; whatever it asks for is refused and noted."""
    page = browser.new_page()
    page.asked = []
    page.route("**", lambda route: (page.asked.append(route.request.url), route.abort()))
    page.on("pageerror", lambda error: page.asked.append(str(error)))
    page.set_content(f'<!doctype html><html lang="en"><head><title>t</title></head><body>{html}</body></html>')
    return page


# What no text of ours needs, and attributes that run or fetch something.
INTRUDERS = """() => [...document.querySelectorAll('*')].filter(part =>
    ['IMG', 'IFRAME', 'OBJECT', 'EMBED', 'BASE', 'LINK', 'META', 'TEXTAREA'].includes(part.tagName)
    || [...part.attributes].some(({name, value}) => /^(on|srcdoc|autofocus|form)/i.test(name)
        || ['src', 'href', 'action'].includes(name.toLowerCase()) && !/^(data:audio|https:)/.test(value))
).map(part => part.outerHTML.slice(0, 200))"""
TEXT = """() => { const body = document.body.cloneNode(true);
    body.querySelectorAll('script, style, template').forEach(part => part.remove()); return body.textContent; }"""


def harmless(page) -> str:
    """Assert that nothing but text came in, and return the text of the page."""
    page.wait_for_timeout(50)  # an image that does not load says so a little later
    assert page.evaluate("window.pwned") is None and page.asked == []
    assert page.evaluate(INTRUDERS) == []
    return page.evaluate(TEXT)


@pytest.fixture
def executed() -> nbformat.NotebookNode:
    """A notebook that says the hostile names in every way in which a cell can say something."""
    said = "\n".join(HOSTILE)
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=said),
        nbformat.v4.new_output("display_data", {"text/plain": said}),
        nbformat.v4.new_output("display_data", {"text/markdown": said, "text/plain": "<Markdown>"}),
        nbformat.v4.new_output("display_data", {"image/png": DOT, "text/plain": "<Figure>"}),
    ]
    alt = {"mystnb": {"image": {"alt": ALL_AT_ONCE}}}
    cell = nbformat.v4.new_code_cell("1", outputs=outputs, execution_count=1, metadata=alt)
    cells = [nbformat.v4.new_markdown_cell("# Names\n\n**You will**\n\n- read;\n- hear.\n"), cell]
    cells += [nbformat.v4.new_markdown_cell("## Next\n")]
    language = {"language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=language)


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def script(name: str):
    """A script of the repository as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return importlib.import_module(name)


def test_hostile_outputs_are_text_on_slides(browser, executed):
    page = opened(browser, script("slides").of_notebook(executed).html())
    assert page.evaluate("window.pwned") is None and page.asked == []
    assert page.evaluate("document.images.length") == 1  # the figure
    assert page.locator("img").get_attribute("alt") == ALL_AT_ONCE
    texts = [page.locator(".output > *").nth(i).evaluate("part => part.textContent") for i in range(2)]
    assert all(name in text for name in HOSTILE for text in texts)
    assert "<img src=x" in page.locator(".output > p").first.evaluate("part => part.textContent")
    page.close()


def test_hostile_outputs_are_text_in_the_book(browser, executed, tmp_path, monkeypatch):
    """Staged as the book is built, and then made a page by the builder's own reader of notebooks."""
    monkeypatch.chdir(tmp_path)
    for folder in ("notebooks", "build/book-src/notebooks", "executed"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("notebooks", "executed"):
        nbformat.write(executed, tmp_path / folder / "index.ipynb")
    assert script("build_book").stage(tmp_path / "executed" / "index.ipynb") is None
    source = tmp_path / "build" / "book-src" / "notebooks"
    (source / "conf.py").write_text("extensions = ['myst_nb']\nnb_execution_mode = 'off'\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", str(source), str(tmp_path / "html")]
    subprocess.run(command, check=True, capture_output=True)
    page = browser.new_page()
    page.goto((tmp_path / "html" / "index.html").as_uri())
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.images.length") == 1 and page.locator("img").get_attribute("alt") == ALL_AT_ONCE
    text = page.evaluate(TEXT)
    assert all(text.count(name) >= 2 for name in HOSTILE)
    page.close()


@pytest.mark.parametrize("make", [make for makers in PAGES.values() for make in makers], ids=lambda make: make.__name__)
def test_hostile_names_are_text(browser, corpus, voter, make):
    page = opened(browser, make(corpus, voter).data)
    text = harmless(page)
    for name in HOSTILE:
        assert name in text, name
    page.close()


def test_hostile_names_stay_text_when_a_browser_of_clips_is_used(browser, corpus, voter):
    page = opened(browser, of_browse(corpus, voter).data)
    for i, label in enumerate(sorted(HOSTILE)):
        for menu, value in enumerate((label, HOSTILE[HOSTILE.index(label) - 1], HOSTILE[HOSTILE.index(label) - 3])):
            page.locator("select").nth(menu).select_option(index=sorted(HOSTILE).index(value))
        said = page.get_by_role("status").evaluate("status => status.textContent")
        assert said.startswith(f"{label} 0, {label}, ") and said.endswith("Hz"), i
    page.locator("select").first.select_option(index=0)
    assert page.get_by_role("status").inner_text().startswith("There is no such clip")
    harmless(page)
    page.close()


def test_hostile_names_stay_text_when_a_confusion_matrix_is_used(browser, corpus, voter):
    page = opened(browser, of_listen_confusion(corpus, voter).data)
    buttons = page.locator("td button")
    assert buttons.count() == 2 * len(HOSTILE)
    for i in range(buttons.count()):
        buttons.nth(i).click()
        spoken, heard = (sorted(HOSTILE)[int(buttons.nth(i).get_attribute(f"data-{place}"))] for place in "ij")
        assert page.locator("figcaption").evaluate("caption => caption.textContent").endswith("sure")
        assert f"1 clip of {spoken} heard as {heard}." in page.evaluate(TEXT)
    harmless(page)
    page.close()


def test_hostile_names_stay_text_when_a_listening_test_is_taken(browser, corpus, voter):
    page = opened(browser, of_listening_test(corpus, voter).data)
    for i, truth in enumerate(corpus["emotion"]):
        page.locator(".answers button").nth(i % len(HOSTILE)).click()
        label, said = sorted(HOSTILE)[i % len(HOSTILE)], page.get_by_role("status").evaluate("it => it.textContent")
        told = (
            f"Yes, it was meant to be {truth}." if label == truth else f"You heard {label}; it was meant to be {truth}."
        )
        assert said == told
        page.locator(".on button").click()
    harmless(page)
    page.close()


def test_the_controls_of_the_book_put_no_data_into_their_pages_as_html():
    for name in ("browse", "confusion", "listening"):
        source = (ROOT / "serlib" / "show" / "explorables" / f"{name}.html").read_text(encoding="utf-8")
        assert "$data" in source and not re.search("innerHTML|outerHTML|insertAdjacent|document.write", source)
