"""`make pdf`: the pages' titles as bookmarks, links that stay inside, players as captions."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "pdf.py"
SITE = ROOT / "build" / "site"
HAS_CHROMIUM = any(map(shutil.which, ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]))

PAGE = """<!doctype html><html><head><link rel="stylesheet" href="../_static/style.css"></head><body>
<p>Navigation</p><article class="bd-article"><section id="top"><h1>{title}<a class="headerlink" href="#top">#</a></h1>
{text}</section></article></body></html>"""
FIRST = """<p><a href="two.html#part">Other</a>, <a href="../notebooks/three.html">a third</a>, <a href="#top">up</a>
and <a href="https://doi.org/10.1">outside</a>. <img src="../_static/dot.svg" alt="dot"></p>
<details><summary>Solution</summary><p>Forty-two.</p></details>
<audio controls aria-label="a calm voice" src="data:audio/mpeg;base64,AAAA"></audio>"""


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """The site of a book of three pages."""
    site = tmp_path / "site"
    for name, title, text in (
        ("book/one", "One", FIRST),
        ("book/two", "Two (twice)", '<h2 id="part">Part</h2><p class="math">\\(p\\)</p><table id="T_1"></table>'),
        ("notebooks/three", "Three – drei", "<script>document.body.dataset.ran = 1</script>"),
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / f"{name}.html").write_text(PAGE.format(title=title, text=text))
    (site / "_static" / "mathjax").mkdir(parents=True)
    (site / "_static" / "style.css").write_text("p { color: teal }")
    (site / "_static" / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (site / "_static" / "mathjax" / "tex-chtml.js").write_text(
        "document.querySelectorAll('.math').forEach(m => m.append(document.createElement('mjx-container')))"
    )
    parts = [{"caption": "Part", "chapters": [{"file": "book/two"}, {"file": "notebooks/three"}]}]
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump({"root": "book/one", "parts": parts}))
    (tmp_path / "_config.yml").write_text(yaml.safe_dump({"title": "Small", "author": "Nobody"}))
    monkeypatch.chdir(tmp_path)
    return site


def pdf(site: Path, target: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, site, target], capture_output=True, text=True, **options)


def bookmarks(data: bytes) -> list[str]:
    """The titles of a PDF's outline, which Chromium writes as plain text or as UTF-16 in hexadecimal digits."""
    found = re.findall(rb"/Title (?:\(((?:\\.|[^\\)])*)\)|<(?:FEFF|feff)([0-9A-Fa-f]+)>)", data)
    plain = [re.sub(rb"\\(.)", rb"\1", text).decode("latin-1") for text, _ in found]
    wide = [bytes.fromhex(digits.decode()).decode("utf-16-be") for _, digits in found]
    return [text or other for text, other in zip(plain, wide, strict=True)]


def n_pages(data: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", data))


def test_pages_become_one_with_links_inside_open_folds_and_captions(small):
    spec = importlib.util.spec_from_file_location("pdf", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    whole = BeautifulSoup(module.whole(small), "html.parser")
    ids = [part["id"] for part in whole.select("[id]")]
    assert len(ids) == len(set(ids)) and "T_1" in ids
    inside = [a["href"] for a in whole.select(".chapter a")]
    assert inside == ["#c1", "#c2", "#c1-part", "#c2", "#c0-top", "https://doi.org/10.1"]
    assert all(href[1:] in ids for href in inside if href.startswith("#"))
    assert not whole.select("audio") and whole.select_one(".sound").get_text() == "♪ a calm voice"
    assert whole.details.has_attr("open") and whole.img["src"] == "_static/dot.svg"
    assert whole.link["href"] == "_static/style.css" and "Navigation" not in whole.get_text()


@pytest.mark.skipif(not HAS_CHROMIUM, reason="needs Chromium on the PATH")
def test_a_small_book_is_printed_with_its_titles(small, tmp_path):
    result = pdf(small, tmp_path / "out" / "small.pdf")
    assert result.returncode == 0, result.stderr
    data = (tmp_path / "out" / "small.pdf").read_bytes()
    assert {"Small", "Contents", "One", "Two (twice)", "Part", "Three – drei"} == set(bookmarks(data))
    assert n_pages(data) == 5  # cover, contents, three chapters


def test_without_a_browser_one_sentence_says_so(small, tmp_path):
    result = pdf(small, tmp_path / "small.pdf", env={"PATH": str(tmp_path)})
    assert result.returncode and not (tmp_path / "small.pdf").exists()
    assert result.stderr.strip() == (
        "The PDF is printed by Chromium or Chrome, and neither is on the PATH: install one and try again."
    )


@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="needs the built book: make book")
@pytest.mark.skipif(not HAS_CHROMIUM, reason="needs Chromium on the PATH")
def test_the_whole_book_is_printed(tmp_path):
    result = pdf(SITE, tmp_path / "book.pdf", cwd=ROOT)
    assert result.returncode == 0, result.stderr
    data = (tmp_path / "book.pdf").read_bytes()
    titles = bookmarks(data)
    assert not [title for title in titles if title[: len(title) // 2] == title[len(title) // 2 :]]
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    for name in [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]:
        page = BeautifulSoup((SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        assert page.select_one("article h1").get_text().removesuffix("#") in titles, name
    assert 120 < n_pages(data) < 500 and len(data) < 40_000_000
