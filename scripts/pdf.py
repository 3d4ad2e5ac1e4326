"""Print the built book: `python scripts/pdf.py build/site build/book.pdf`.

The articles of all pages, in the order of _toc.yml, become one page, which Chromium prints with bookmarks. Folds are
open, a player is its caption, and a link to another page of the book goes to where that page begins on paper.
"""

import posixpath
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Route, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nobody's server: what is asked of it is read from the site, and what is asked of others is refused.
ORIGIN = "http://book.invalid"
MINUTE = 60_000  # ms
STYLE = """
@page { size: A4; margin: 18mm 17mm 20mm; }
html { font-size: 11.5px; scroll-padding: 0; }
body { background: #fff; }
.chapter { break-before: page; }
.cover { height: 230mm; display: flex; flex-direction: column; justify-content: center; }
.cover h1 { font-size: 4em; }
.copybtn, .toggle-button, audio, .ser-browse .menus, .ser-ear, .ser-speak { display: none !important; }
.sound { display: block; font-style: italic; }
figure, img, tr, .verdict { break-inside: avoid; }
/* A heading's bookmark would lose the space at which the heading breaks into two lines, were it not kept; and it would
   have its words twice where letters stick out of a low line at the top of a page. */
h1, h2, h3 { break-after: avoid; white-space: break-spaces; line-height: 1.4; }
img, svg { max-width: 100%; }
pre, div.highlight pre { white-space: pre-wrap; overflow-wrap: anywhere; overflow: visible; }
.scroll, .pst-scrollable-table-container, div[style*="overflow-x"] { overflow: visible !important; }
"""
FOOTER = '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'


def contents() -> list[tuple[str, list[str]]]:
    """Return the parts of the book in order, each with the names of its pages."""
    toc = yaml.safe_load(Path("_toc.yml").read_text(encoding="utf-8"))
    parts = [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in toc["parts"]]
    return [("", [toc["root"]]), *parts]


def read(site: Path, name: str) -> BeautifulSoup:
    """Return a page of the site."""
    return BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def chapter(site: Path, name: str, place: dict[str, str]) -> Tag:
    """Return the article of a page, fit for paper and for standing beside the articles of the other pages."""
    page = read(site, name)
    article = page.select_one("article.bd-article")
    article.name, article["class"], article["id"] = "div", ["chapter"], place[name]
    for part in article.select("[id]"):
        if not part["id"].startswith("T_"):  # the styles of a table call it so, and no two are alike
            part["id"] = f"{place[name]}-{part['id']}"
    folder = posixpath.dirname(name)
    for part in article.select("[src]"):
        if not urlsplit(part["src"]).scheme:
            part["src"] = posixpath.normpath(posixpath.join(folder, part["src"]))
    for part in article.select("a[href]"):
        target, anchor = urldefrag(part["href"])
        if urlsplit(target).scheme:
            continue
        path = posixpath.normpath(posixpath.join(folder, unquote(target))) if target else f"{name}.html"
        there = place.get(path.removesuffix(".html"))
        part["href"] = f"#{there}-{unquote(anchor)}" if there and anchor else f"#{there}" if there else path
    for part in article.select("audio"):
        caption = page.new_tag("span", attrs={"class": "sound"})
        caption.string = f"♪ {part.get('aria-label', 'a sound')}"
        part.replace_with(caption)
    for part in article.select(".headerlink"):
        part.decompose()
    for part in article.select("details"):
        part["open"] = ""
    for part in article.select("[loading]"):
        del part["loading"]
    return article


def whole(site: Path) -> str:
    """Return the whole book as one page at the root of the site."""
    parts = contents()
    names = [name for _, pages in parts for name in pages]
    place = {name: f"c{i}" for i, name in enumerate(names)}
    articles = {name: chapter(site, name, place) for name in names}
    titles = {name: article.h1.get_text() for name, article in articles.items()}
    first = read(site, names[0])
    up = "../" * names[0].count("/")
    styles = [link["href"].removeprefix(up) for link in first.select('link[rel="stylesheet"]')]
    lines = [
        f"<h3>{part}</h3><ul>" + "".join(f'<li><a href="#{place[n]}">{titles[n]}</a></li>' for n in pages) + "</ul>"
        for part, pages in parts[1:]
    ]
    book = yaml.safe_load(Path("_config.yml").read_text(encoding="utf-8"))
    return (
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{book["title"]}</title>'
        + "".join(f'<link rel="stylesheet" href="{style}">' for style in styles)
        + '<script>window.MathJax = {options: {processHtmlClass: "tex2jax_process|mathjax_process|math|output_area"}}'
        f'</script><script defer src="_static/mathjax/tex-chtml.js"></script><style>{STYLE}</style></head><body>'
        f'<main class="bd-content"><div class="cover"><h1>{book["title"]}</h1><p>{book["author"]}</p></div>'
        f'<nav class="chapter"><h2>Contents</h2>{"".join(lines)}</nav>'
        f"{''.join(map(str, articles.values()))}</main></body></html>"
    )


def main() -> None:
    site, target = Path(sys.argv[1]), Path(sys.argv[2])
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit("The PDF is printed by Chromium or Chrome, and neither is on the PATH: install one and try again.")
    html = whole(site)

    def answer(route: Route) -> None:
        url = urlsplit(route.request.url)
        file = site / unquote(url.path).lstrip("/")
        if url.path == "/":
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        elif f"{url.scheme}://{url.netloc}" == ORIGIN and file.is_file():
            route.fulfill(path=file)
        else:
            route.abort()

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(10 * MINUTE)
        page.route("**", answer)
        page.goto(f"{ORIGIN}/", wait_until="networkidle")
        count = "document.querySelectorAll('{}').length"
        page.wait_for_function(f"{count.format('.math')} <= {count.format('mjx-container')}")
        target.parent.mkdir(parents=True, exist_ok=True)
        page.pdf(
            path=target, prefer_css_page_size=True, print_background=True, outline=True, tagged=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOTER,
        )  # fmt: skip
        browser.close()
    print(f"The book is in {target}.")


if __name__ == "__main__":
    main()
