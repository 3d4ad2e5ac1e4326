"""`make slides`: what of a notebook, a chapter and a plan stands on a slide, and that a deck opens with no network."""

import base64
import importlib.util
import io
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from serlib.show import players

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(scope="module")
def slides():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec = importlib.util.spec_from_file_location("slides", ROOT / "scripts" / "slides.py")
        module = sys.modules["slides"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    for name in ("slides", "editions", "address"):
        sys.modules.pop(name, None)


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), "teal").save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    """An executed notebook with one of everything."""
    tone = np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000)
    alt = {"mystnb": {"image": {"alt": "a teal rectangle without meaning"}}}
    shows = {
        "loud": new_output("display_data", {"image/png": picture(), "text/plain": "<Figure>"}),
        "words": new_output("stream", name="stdout", text="3 < 4\n"),
        "noise": new_output("stream", name="stderr", text="UserWarning"),
        "widget": new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox()"}),
        "sound": new_output("execute_result", {"text/html": players.player(tone, "a tone", rate=16_000).data}),
    }
    return new_notebook(cells=[
        new_markdown_cell("# A *tone*\n\n[![Open in Colab](https://a.example/b)](https://a.example)"),
        new_markdown_cell("**You will**\n\n- hear;\n- see.\n\n| Profile | Needs |\n|---|---|\n| mini | ears |"),
        new_code_cell('if "google.colab" in sys.modules:\n    %pip install -q "serlib"'),
        new_code_cell('PROFILE = "auto"', metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Hearing\n\nSimple. Listen to one of 220 Hz, which is the A below the middle C."),
        new_code_cell("sound()", outputs=[shows["sound"], shows["noise"]]),
        new_markdown_cell("Loud: $-\\log p$.\n\nDraw it. See [notebook 11](11_x.ipynb), et al. Look at its color."),
        new_code_cell("plot()", metadata=alt, outputs=[shows["loud"], shows["words"], shows["widget"]]),
        new_markdown_cell("What we saw is teal. It always is."),
        new_markdown_cell("## Exercise: which tone?\n\nSing it. Then name it."),
        new_code_cell("answer = None\nser.check.tone(answer)"),
        new_markdown_cell("<details><summary>Solution</summary>\n\nIt is the A.\n\n</details>"),
        new_markdown_cell("## What we learned\n\n- Tones sound.\n- Teal is\n  a color."),
        new_markdown_cell("## Next\n\n[Notebook 11](11_x.ipynb)."),
    ])  # fmt: skip


def test_a_slide_is_a_heading_the_sentence_before_a_cell_and_the_cell(slides, notebook):
    pages = BeautifulSoup(slides.of_notebook(notebook).html(), "html.parser").select("section")
    titles = [page.find(["h1", "h2"]).get_text() for page in pages]
    assert titles == ["A tone", "Hearing", "Hearing", "Exercise: which tone?", "What we learned"]
    assert [item.get_text() for item in pages[0].select("li")] == ["hear;", "see."]
    listen, draw, exercise, learned = pages[1:]
    for page in pages:
        for fold in page.select("details"):
            fold["text"] = fold.get_text(" ", strip=True)
            fold.clear()
    assert listen.p.get_text() == "Listen to one of 220 Hz, which is the A below the middle C."
    assert listen.audio["aria-label"] == "a tone" and "Simple." in listen.details["text"]
    # Short sentences take the one before them along; "et al." ends none, and a link to a file beside is only a word.
    assert draw.p.get_text() == "Draw it. See notebook 11, et al. Look at its color."
    assert draw.select_one(".output > img")["alt"] == "a teal rectangle without meaning"
    assert draw.select_one(".output pre").get_text() == "3 < 4\n"
    assert "What we saw is teal. It always is." in draw.get_text()
    assert exercise.p.get_text() == "Sing it. Then name it." and "answer = None" in exercise.pre.get_text()
    assert [item.get_text() for item in learned.select("li")] == ["Tones sound.", "Teal is\na color."]
    for absent in ("pip install", "PROFILE", "UserWarning", "HBox", "It is the A", "Colab", "11_x"):
        assert absent not in str(pages)


def test_a_deck_holds_a_sound_once_and_plays_it_wherever_it_comes_again(slides, notebook, browser):
    notebook.cells[6:6] = notebook.cells[4:6]
    html = slides.of_notebook(notebook).html()
    assert html.count("data:audio/") == html.count("forEach(sound)") == 1
    page = browser.new_page()
    page.set_content(html)
    sources = page.locator("audio").evaluate_all("all => all.map(audio => audio.src)")
    assert len(sources) == 2 and sources[0] == sources[1] != ""
    assert page.get_by_role("button", name="Play: a tone").count() == 2
    page.close()


def test_a_picture_loses_nothing_but_bytes(slides, notebook):
    """Drawn here, compared by pixel."""
    before = notebook.cells[7].outputs[0]["data"]["image/png"]
    after = BeautifulSoup(slides.of_notebook(notebook).html(), "html.parser").select_one(".output > img")["src"]
    kept = base64.b64decode(after.removeprefix("data:image/webp;base64,"))
    drawn, shown = (Image.open(io.BytesIO(file)).convert("RGBA") for file in (base64.b64decode(before), kept))
    assert shown.tobytes() == drawn.tobytes() and len(kept) < len(before)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_a_deck_with_its_sections_and_without_solutions(slides, path):
    notebook = nbformat.read(path, as_version=4)
    deck = BeautifulSoup(slides.of_notebook(notebook).html(), "html.parser")
    said = {title.get_text() for title in deck.select("h2")}
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    # A heading that only heads other headings is no slide.
    heads = re.findall(r"^## (.+)\n++(?!###)", text, re.MULTILINE)
    sections = {head.replace("`", "").replace("*", "") for head in heads}
    assert sections - said <= {"Next", "Setting up"}
    assert "olution</summary>" not in str(deck) and not deck.select("p:-soup-contains('$\\\\')")
    shown = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(deck.select("pre.code")) == len(shown) - 2  # all but how to install and which profile


CHAPTER = """# A *vowel*

Say "ah" {cite}`boersma2001praat,graves2006ctc`. It is a {term}`clip <clips>`. Nobody reads a third sentence out.

```{raw} html
:file: ../serlib/show/explorables/jury.html
```

**You will**

- hum.

**Needs:** a voice. **Minutes:** 3 to read;
nothing to compute.

## Air

First. It is air <!-- results/x accuracy -->. And it moves a great deal, as twelve words of a sentence may say.

Second, the folds open and close many times a second, and this is heard as pitch.

```{figure} images/voice.svg
:name: fig-voice
:alt: Four panels that compare two voices

Two voices, see [there](ravdess.md).
```

| a | b |
|---|---|
| 1 | 2 |

## Exercise

How high? And why?

<details>
<summary>Answer</summary>

440.

</details>

## What we learned

- Air moves.

## Next

[More](index.md)
"""


def test_a_chapter_has_a_slide_for_each_figure_table_and_control_and_for_what_is_only_said(slides):
    pages = BeautifulSoup(slides.of_chapter(CHAPTER).html(), "html.parser").select("section")
    assert [page.find(["h1", "h2"]).get_text() for page in pages] == [
        "A vowel", "A *vowel*".replace("*", ""), "Air", "Air", "Exercise", "What we learned",
    ]  # fmt: skip
    aims, control, figure, table, exercise, learned = pages
    assert aims.li.get_text() == "hum." and "a voice" not in str(pages)
    assert control.p.get_text() == 'Say "ah" (Boersma 2001; Graves et al. 2006). It is a clip.'
    assert control.select_one(".ser-jury")
    assert [point.get_text() for point in figure.select("section > ul > li")] == [
        "First. It is air. And it moves a great deal, as twelve words of a sentence may say.",
        "Second, the folds open and close many times a second, and this is heard as pitch.",
    ]
    assert figure.img["alt"] == "Four panels that compare two voices" and figure.img["src"].startswith("data:image/svg")
    assert figure.figcaption.get_text() == "Two voices, see there."
    assert [cell.get_text() for cell in table.select("td")] == ["1", "2"]
    assert exercise.p.get_text() == "How high? And why?" and "440" not in str(pages)
    assert learned.li.get_text() == "Air moves."


KIT = """
## Three plans

### A short one

| Minutes | What | Page |
|---|---|---|
| 10 | Breathe | [air](air.md) <!-- slides: Air ¦ What we learned --> |
| 5 | Think | [air](air.md) <!-- slides: Exercise --> |

### By weeks

| Week | Topic | Read before | In class |
|---|---|---|---|
| 1 | Air | nothing | [air](air.md) <!-- slides: Air --> |

## Objectives
"""


def test_the_deck_of_a_plan_shows_the_sections_that_its_rows_name(slides):
    decks = {"air": slides.of_chapter(CHAPTER)}
    found = slides.sessions(KIT, decks)
    assert list(found) == ["a_short_one", "week_1"]
    assert [slide.title for slide in found["a_short_one"].slides] == [
        "10 minutes: Breathe", "Air", "Air", "What we learned", "5 minutes: Think", "Exercise",
    ]  # fmt: skip
    assert [slide.title for slide in found["week_1"].slides] == ["Air", "Air"]
    assert found["week_1"].title == "Week 1: Air" and "**In class:** air" in found["week_1"].aims
    with pytest.raises(SystemExit, match="Water"):
        slides.sessions(KIT.replace("slides: Air -->", "slides: Water -->"), decks)


@pytest.mark.slow
def test_all_notebooks_together_give_the_decks_of_the_book_and_of_its_plans(slides, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["slides.py", str(tmp_path), *map(str, NOTEBOOKS)])
    slides.main()
    written = {path.stem for path in tmp_path.glob("*.html")}
    listed = BeautifulSoup((tmp_path / "index.html").read_text(encoding="utf-8"), "html.parser")
    assert {link["href"] for link in listed.select("a")} == {f"{name}.html" for name in written - {"index"}}
    for path in (ROOT / "book").glob("quiz_*.md"):
        assert path.stem in written
    minutes = {"one_session_of_90_minutes": 90, "a_workshop_of_one_day": 360} | {f"week_{i}": 180 for i in range(1, 7)}
    for name, length in minutes.items():
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert 20 < text.count("<section") < 0.6 * length, name
        page = BeautifulSoup(text, "html.parser")
        for code in page.select("pre, code, script"):
            code.extract()
        for raw in ("{cite", "{term", "{doc", "```", "**", "](", "slides:"):
            assert raw not in page.get_text(), (name, raw)
    kit = (ROOT / "book" / "instructor.md").read_text(encoding="utf-8")
    assert set(re.findall(r"/slides/(\w+)\.html", kit)) == {*minutes, "index"}


def test_a_deck_opens_alone_turns_by_key_and_prints_a_slide_a_page(slides, notebook, tmp_path, browser):
    nbformat.write(notebook, tmp_path / "00_tone.ipynb")
    sys.argv = ["slides.py", str(tmp_path / "slides"), str(tmp_path / "00_tone.ipynb")]
    slides.main()
    asked, faults = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((tmp_path / "slides" / "00_tone.html").as_uri())
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == [] and faults == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    # The formula and the figure are there, and a slide fits into a window.
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 10)")
    assert page.locator("img.math").count() == 1
    for key, slide in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        page.wait_for_function(
            "i => Math.abs(document.querySelectorAll('section')[i].getBoundingClientRect().top) < 2", arg=slide
        )
    page.pdf(path=tmp_path / "deck.pdf", prefer_css_page_size=True)
    page.close()
    assert (tmp_path / "deck.pdf").read_bytes().count(b"/Type /Page\n") == 5
