"""The built book as its readers meet it: every page in headless Chromium, with no network but the site itself."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html") if "_static" not in page.parts)
DECKS = [page for page in PAGES if page.startswith("slides/") and not page[7].isdigit()]
# The front page only forwards; the index is empty, since the glossary is the book's index.
CHAPTERS = [page for page in PAGES if page.startswith(("book/", "notebooks/"))]
MEGABYTE = 1_000_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
PATIENCE = 60_000  # ms: a machine that trains beside the browser is slow, and slow is not wrong
# In pieces, so that this file does not hold what it looks for.
DEBRIS = re.compile(
    "|".join([
        r"Traceback \(most recent", r"\w*Warning:", r"\w+Error\b", r"File \"/", r"site-packages",
        "/ho" "me/", "/ro" "ot/", "/tm" "p/", "/wo" "rk/", "/Use" "rs/",
        r"(?:HBox|VBox|interactive|FloatProgress|IntProgress)\(", r"%\|[█▏▎▍▌▋▊▉ ]",
        r"<[\w.]+ at 0x[0-9a-f]+>", r"<Axes", r"\[<matplotlib",
    ])
)  # fmt: skip

# Marks each word of code that has the colors and weight of one before it, on the same backgrounds. (In the reference,
# whose entries are all set alike, the first of each module is looked at.)
ONCE = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll('pre span:not(dl.py *)')) {
        delete word.dataset.alike;
        if (word.children.length || !word.getClientRects().length) continue;
        const looks = [];
        for (let part = word; part; part = part.parentElement) {
            const style = getComputedStyle(part);
            if (part === word) looks.push(style.color, style.fontSize, style.fontWeight);
            looks.push(style.backgroundColor, style.backgroundImage, style.opacity);
        }
        const kind = looks.join();
        if (seen.has(kind)) word.dataset.alike = '';
        seen.add(kind);
    }
}"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PAGES, reason="needs the built book: make book")]


def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / page).read_text(encoding="utf-8"), "html.parser")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def origin():
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Visit:
    """One page in a window of its own, and everything that it asked for, said or failed at."""

    def __init__(self, browser, origin: str, page: str, **options) -> None:
        self.name, self.origin = page, origin
        self.faults: list[str] = []
        self.abroad: list[str] = []
        self.bytes = 0
        context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce", **options)
        context.route(lambda url: not url.startswith(origin), self._refuse)
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("response", self._note)
        self.page.goto(f"{origin}/{page}", wait_until="load")
        self.page.wait_for_load_state("networkidle")
        if self.page.locator(".math").count() and not self.page.locator("mjx-container").count():
            self.page.wait_for_selector("mjx-container", state="attached")
        self.seconds = self.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000

    def _refuse(self, route) -> None:
        if not route.request.url.startswith(("data:", "blob:")):
            self.abroad.append(route.request.url)
        route.abort()

    def _note(self, response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")
        elif response.url.startswith(self.origin) and response.status == 200:
            self.bytes += int(response.headers.get("content-length", 0))

    def axe(self) -> list[str]:
        """The serious faults that axe finds, each with the first places where it found it."""
        return self._axe(rules={"color-contrast": {"enabled": False}}) + self.faint()

    def faint(self) -> list[str]:
        """What axe finds too faint. It takes 80 s for the reference alone, so what is set alike is looked at once."""
        self.page.evaluate(ONCE)
        return self._axe({"exclude": [["[data-alike]"], ["dl.py ~ dl.py"]]}, runOnly=["color-contrast"])

    def _axe(self, context=None, **options) -> list[str]:
        from axe_playwright_python.sync_playwright import Axe

        options = {"resultTypes": ["violations"], **options}
        response = Axe().run(self.page, context=context, options=options).response
        return [
            f"{rule['id']} ({rule['impact']}, {len(rule['nodes'])} times): {rule['help']}\n"
            + "\n".join(f"    {node['target'][0]}  {node['html'][:160]}" for node in rule["nodes"][:5])
            for rule in response["violations"]
            if rule["impact"] in ("serious", "critical")
        ]

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture(scope="module", params=CHAPTERS)
def visit(request, browser, origin):
    visit = Visit(browser, origin, request.param)
    yield visit
    visit.close()


@pytest.fixture
def landing(browser, origin):
    visit = Visit(browser, origin, "book/index.html", permissions=["clipboard-read", "clipboard-write"])
    yield visit
    visit.close()


WEIGHTS: list[tuple[str, int, float]] = []


def test_loads_alone_and_without_an_error(visit):
    assert visit.abroad == [] and visit.faults == []
    WEIGHTS.append((visit.name, visit.bytes, visit.seconds))
    assert visit.bytes < 3 * MEGABYTE


def test_math_is_typeset(visit):
    page = visit.page
    assert page.locator("mjx-container").count() == page.locator(".math").count()
    assert page.locator("mjx-merror").count() == 0
    article = soup(visit.name).select_one("article")
    for part in article.select("pre, code, script, .math"):
        part.extract()
    shown = re.search(r"\$[^$\n]*\\\w+[^$\n]*\$|\\\(|\\\[", article.get_text())
    assert not shown, "a formula shown as its source"


def test_every_player_can_play(visit):
    durations = visit.page.evaluate(
        """() => Promise.all([...document.querySelectorAll('audio')].map(audio => new Promise(done => {
            audio.addEventListener('loadedmetadata', () => done(audio.duration));
            audio.addEventListener('error', () => done(-1));
            audio.preload = 'metadata'; audio.load();
        })))"""
    )
    assert all(0.1 < seconds < 60 for seconds in durations), durations
    if durations:
        heard = visit.page.evaluate(
            """async () => {
                const audio = document.querySelector('audio');
                await audio.play();
                await new Promise(done => audio.addEventListener('timeupdate', () => audio.currentTime > 0 && done()));
                audio.pause(); return audio.currentTime;
            }"""
        )
        assert heard > 0


def test_every_output_is_fit_to_print(visit):
    for output in soup(visit.name).select(".cell_output"):
        for code in output.select("script, style"):
            code.extract()
        assert not (found := DEBRIS.search(output.get_text())), f"{found[0]!r} in: {output.get_text()[:300]}"
        assert not output.select(".stderr, .traceback, [type*='widget-view'], .jupyter-widgets")


def test_every_code_cell_has_a_copy_button(visit):
    cells = visit.page.locator("div.highlight > pre")
    assert visit.page.locator("div.highlight button.copybtn").count() == cells.count()


def test_nothing_serious_for_axe_in_light_and_dark(visit):
    visit.page.evaluate("document.documentElement.dataset.theme = 'light'")
    light = visit.axe()
    visit.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = visit.faint()
    visit.page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert not light, "light:\n" + "\n".join(light)
    assert not dark, "dark:\n" + "\n".join(dark)


def test_nothing_serious_for_axe_on_a_phone(visit, settle):
    """Dark on every other page, light on the rest: a phone shows other menus, and boxes that scroll."""
    theme = ("dark", "light")[CHAPTERS.index(visit.name) % 2]
    visit.page.set_viewport_size(PHONE)
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    settle(visit.page, 400)  # the theme waits 300 ms before it looks at a new width
    found = visit.axe()
    visit.page.evaluate("document.documentElement.dataset.theme = 'light'")
    visit.page.set_viewport_size(DESKTOP)
    assert not found, f"{theme}:\n" + "\n".join(found)


def test_fits_a_phone(visit, settle):
    visit.page.set_viewport_size(PHONE)
    settle(visit.page, 100)
    # What sticks out, unless it scrolls inside a box of its own.
    wide = visit.page.evaluate(
        """() => document.scrollingElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll('article *')].filter(part => {
                if (part.getBoundingClientRect().right <= innerWidth + 1) return false;
                for (let box = part.parentElement; box; box = box.parentElement)
                    if (box !== document.body && box !== document.documentElement
                        && ['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)
                        && box.getBoundingClientRect().right <= innerWidth + 1) return false;
                return true;
            }).slice(0, 5).map(part => part.outerHTML.slice(0, 150))"""
    )
    width = visit.page.evaluate("document.scrollingElement.scrollWidth")
    visit.page.set_viewport_size(DESKTOP)
    assert width <= PHONE["width"], f"{width} px wide: {wide}"


def test_on_a_phone_the_figures_of_cells_keep_their_size_and_scroll_by_keyboard(visit, settle):
    figures = visit.page.locator("div.cell_output .drawn")
    assert figures.count() == visit.page.locator("div.cell_output img[src*='_images/']").count()
    visit.page.set_viewport_size(PHONE)
    settle(visit.page, 400)
    for figure in figures.all():
        picture = figure.locator("img")
        assert picture.evaluate("img => img.width === Math.min(640, img.naturalWidth)")
        if figure.evaluate("box => box.scrollWidth > box.clientWidth"):
            figure.focus()
            visit.page.keyboard.press("ArrowRight")
            visit.page.wait_for_function("box => box.scrollLeft > 0", arg=figure.element_handle())
            figure.evaluate("box => { box.scrollLeft = 0; }")
    visit.page.set_viewport_size(DESKTOP)


def test_page_weights_and_load_times(capsys):
    with capsys.disabled():
        print(f"\n{'page':52} {'MB':>6} {'load s':>7}")
        for name, size, seconds in WEIGHTS:
            print(f"{name:52} {size / MEGABYTE:6.2f} {seconds:7.2f}")


@pytest.mark.parametrize("deck", DECKS)
def test_a_deck_of_slides_opens_alone_and_axe_finds_nothing_serious(browser, origin, deck):
    visit = Visit(browser, origin, deck)
    assert visit.abroad == [] and visit.faults == [] and visit.bytes < 3 * MEGABYTE
    assert not (found := visit.axe()), "\n".join(found)
    visit.close()


def test_the_front_page_forwards(browser, origin):
    visit = Visit(browser, origin, "index.html")
    visit.page.wait_for_url("**/book/index.html")
    visit.close()


def test_the_ways_in_stand_two_by_two_and_on_a_phone_one_below_the_other(landing):
    lines = "() => new Set([...document.querySelectorAll('a.way-in')].map(way => way.offsetTop)).size"
    assert (landing.page.locator("a.way-in").count(), landing.page.evaluate(lines)) == (4, 2)
    landing.page.set_viewport_size(PHONE)
    assert landing.page.evaluate(lines) == 4
    landing.page.set_viewport_size(DESKTOP)


def test_search_finds(browser, origin):
    visit = Visit(browser, origin, "search.html?q=formant")
    visit.page.wait_for_selector("#search-results li a")
    glass, field = (visit.page.locator(f".bd-search-container .bd-search {part}") for part in ("i, svg", "input"))
    edge = field.bounding_box()["x"] + float(field.evaluate("field => parseFloat(getComputedStyle(field).paddingLeft)"))
    assert edge > glass.bounding_box()["x"] + glass.bounding_box()["width"]  # what is typed is not below the glass
    assert visit.page.locator("#search-results li").count() >= 1
    assert "glossary" in visit.page.locator("#search-results").inner_html()
    assert visit.faults == [] and visit.abroad == []
    visit.close()


def test_search_opens_from_any_page(landing):
    landing.page.locator("button.search-button__button:visible").first.click()
    field = landing.page.locator(".search-button__search-container input[type=search]")
    field.fill("wilson")
    field.press("Enter")
    landing.page.wait_for_selector("#search-results li a")


def test_dark_mode_toggles_and_is_remembered(landing):
    page = landing.page
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b) / 3"
    seen = {}
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        seen[page.evaluate("document.documentElement.dataset.mode")] = page.evaluate(shade)
        if page.evaluate("document.documentElement.dataset.mode") == "dark":
            page.reload()
            assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert seen["dark"] < 60 < 200 < seen["light"]


def test_copy_button_copies(browser, origin):
    permissions = ["clipboard-read", "clipboard-write"]
    visit = Visit(browser, origin, "book/how_to_use.html", permissions=permissions)
    block = visit.page.locator("div.highlight:has(button.copybtn)").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = visit.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip()
    visit.close()


def test_every_internal_link_and_anchor_resolves(address):
    read = {page: soup(page) for page in PAGES}
    anchors = {page: {tag.get("id") for tag in tags.select("[id]")} for page, tags in read.items()}
    owner, name = address.split("/")
    published = f"https://{owner.lower()}.github.io/{name}/"
    for page, tags in read.items():
        for tag in tags.select("[href], [src]"):
            target, anchor = urldefrag(tag.get("href") or tag.get("src"))
            parts = urlsplit(target)
            if target.startswith(published):  # said with its address, for those who read a copy elsewhere
                file = SITE / target.removeprefix(published)
                assert file.is_file() or file.name == "hearing-emotion.pdf", f"{page}: {target}"
                continue
            if parts.scheme or parts.netloc:
                assert parts.scheme in {"https", "data", "mailto"}, f"{page}: {target[:100]}"
                continue
            file = (SITE / page).parent / unquote(parts.path) if parts.path else SITE / page
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{page}: {target}"
            name = file.resolve().relative_to(SITE.resolve()).as_posix()
            if anchor and name in anchors:
                assert unquote(anchor) in anchors[name], f"{page}: {target}#{anchor}"


def test_every_colab_badge_opens_its_own_notebook(address):
    for page in CHAPTERS:
        links = {a["href"] for a in soup(page).select("a[href*='//colab.research.google.com/github']")}
        own = f"https://colab.research.google.com/github/{address}/blob/main/{page.removesuffix('.html')}.ipynb"
        assert links == ({own} if page.startswith("notebooks/") else set()), page


def test_every_page_names_its_language_and_itself():
    read = {page: soup(page) for page in CHAPTERS}
    assert len({tags.title.get_text(strip=True) for tags in read.values()}) == len(CHAPTERS)
    for page, tags in read.items():
        assert tags.html.get("lang", "").startswith("en") and len(tags.select("article h1")) == 1, page


@pytest.fixture
def sandbox(browser, origin):
    visit = Visit(browser, origin, "book/voting.html")
    yield visit
    assert visit.faults == [] and visit.abroad == []
    visit.close()


def test_the_voting_sandbox_counts_shows_ties_and_breaks_them_by_the_rule(sandbox):
    box = sandbox.page.locator(".ser-voting")
    verdict = box.locator(".verdict")
    box.get_by_role("button", name="1-1-1").click()
    assert "A tie of angry, calm and sad with 1 vote each" in verdict.inner_text()
    assert "The hard vote says sad, the most probable of them" in verdict.inner_text()
    box.get_by_label("Rule for ties").select_option("first")
    assert "The hard vote says angry" in verdict.inner_text()
    box.get_by_role("button", name="one sure, two unsure").click()
    assert "The hard vote says sad. The soft vote says fearful" in verdict.inner_text()
    box.get_by_label("Answer of voter 2").select_option("fearful")
    assert "The hard vote says fearful. The soft vote says fearful too" in verdict.inner_text()
    box.get_by_label("Number of voters").select_option("7")
    assert box.locator("tbody tr").count() == 7


def test_the_answer_of_the_exercise_on_voting_is_one(sandbox):
    box = sandbox.page.locator(".ser-voting")
    box.get_by_label("Number of voters").select_option("5")
    ballot = [("sad", 30, "calm")] * 3 + [("calm", 80, "neutral"), ("fearful", 30, "calm")]
    for i, (answer, sure, second) in enumerate(ballot, start=1):
        box.get_by_label(f"Answer of voter {i}").select_option(answer)
        box.get_by_label(f"How sure voter {i} is, in percent").fill(str(sure))
        box.get_by_label(f"Second choice of voter {i}").select_option(second)
    assert box.locator(".verdict").inner_text() == "The hard vote says sad. The soft vote says calm."


def test_the_sandbox_works_from_the_keyboard(sandbox):
    slider = sandbox.page.get_by_label("How sure voter 1 is, in percent")
    slider.focus()
    sandbox.page.keyboard.press("End")
    assert slider.input_value() == "99" and slider.evaluate("slider => slider === document.activeElement")


def test_the_jury_agrees_with_the_binomial_distribution(sandbox):
    from scipy.stats import binom

    box = sandbox.page.locator(".ser-jury")
    for jurors, percent, shared in [(1, 70, 0), (5, 70, 0), (15, 40, 0), (5, 70, 50), (5, 70, 100)]:
        for name, value in (("jurors", jurors), ("each is right in", percent), ("clips all share", shared)):
            box.get_by_label(name, exact=False).first.fill(str(value))
        p, s = percent / 100, shared / 100
        expected = s * p + (1 - s) * binom.sf(jurors // 2, jurors, p)
        assert f"in {100 * expected:.1f} %" in box.locator(".verdict").inner_text()


def test_a_quiz_opens_with_the_keyboard(browser, origin):
    visit = Visit(browser, origin, "book/quiz_judging.html")
    answer = visit.page.locator("details.quiz").first
    answer.locator("summary").focus()
    visit.page.keyboard.press("Enter")
    assert answer.get_attribute("open") is not None and "Not yet" in answer.inner_text()
    visit.close()


# Plays a sound and returns its seconds.
PLAY = """async audio => {
    audio.load(); audio.preload = 'metadata';
    await new Promise(done => audio.addEventListener('loadedmetadata', done));
    await audio.play(); return audio.duration;
}"""


def test_the_prosody_browser_plays_what_is_chosen_and_says_what_is_not_there(browser, origin):
    visit = Visit(browser, origin, "notebooks/01_data_exploration.html")
    box = visit.page.locator(".ser-browse")
    box.get_by_label("emotion").select_option("surprised")
    box.get_by_label("intensity").select_option("strong")
    assert "surprised, strong" in box.get_by_role("status").inner_text()
    assert box.locator("svg circle").count() > 10
    assert 0.5 < box.locator("audio").evaluate(PLAY) < 10
    box.get_by_label("emotion").select_option("neutral")
    assert "There is no such clip" in box.get_by_role("status").inner_text()
    assert not box.locator("audio").is_visible()
    assert visit.faults == [] and visit.abroad == []
    visit.close()


def test_the_confusion_matrix_plays_the_cell_that_is_pressed(browser, origin):
    visit = Visit(browser, origin, "notebooks/10_results_comparison.html")
    box = visit.page.locator(".ser-confusion")
    assert box.locator("tbody tr").count() == 8
    cell = box.locator("[data-i='0'][data-j='0']")
    cell.click()
    assert box.get_by_role("status").inner_text().startswith(f"{cell.inner_text()} clip")
    assert "heard as angry" in box.locator("figcaption").inner_text()
    assert 0.5 < box.locator("audio").evaluate(PLAY) < 10
    assert visit.faults == [] and visit.abroad == []
    visit.close()


@pytest.fixture(scope="module")
def exercise(browser, origin):
    """The exercise "write the vote" of notebook 09, with its editor open."""
    visit = Visit(browser, origin, "notebooks/09_ensemble_voting.html")
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    cell = visit.page.locator(".cell.tag_answer-here", has_text="majority")
    visit.early = [name for name in asked if "pyodide" in name or "stdlib" in name]
    cell.get_by_role("button", name="Try it here").click()
    visit.asked, visit.cell = asked, cell
    yield visit
    visit.close()


def answered(exercise, code: str) -> str:
    """What the page says of an answer."""
    exercise.cell.get_by_role("textbox").fill(code)
    exercise.cell.get_by_role("button", name="Check").click()
    done = re.compile(r"^(?!Python is coming|Running)(?=.)", re.DOTALL)
    status = exercise.cell.get_by_role("status")
    status.filter(has_text=done).wait_for()
    return status.inner_text()


def test_an_exercise_is_answered_in_the_page(exercise):
    """By the check of the notebook, in a Python that the site itself holds and that nobody has loaded before."""
    assert exercise.early == []
    wrong = "def majority(labels):\n    return labels[0]\n\n\nser.check.majority(majority);"
    assert answered(exercise, wrong).startswith("Not yet: for the jury sad, happy, happy happy has most votes")
    right = wrong.replace("labels[0]", "max(sorted(set(labels)), key=labels.count)")
    assert answered(exercise, right).startswith("Right: all 7 juries")
    assert answered(exercise, "ser.check.nothing()\n").startswith("AttributeError") and exercise.abroad == []
    assert "pyodide.asm.wasm.gz" in exercise.asked and exercise.faults == []


def test_a_loop_without_an_end_is_stopped_and_the_next_answer_is_heard(exercise):
    assert "never ends" in answered(exercise, "while True:\n    pass")
    assert answered(exercise, "print(6 * 7)") == "42"


def test_the_editor_of_an_exercise_is_accessible(exercise):
    faults = exercise.axe()
    assert not faults, "\n".join(faults)


def test_every_exercise_says_where_it_is_answered():
    """A button, or a word that it takes Colab; the exercises of both kinds are many."""
    tags = [
        cell["class"] for page in CHAPTERS for cell in soup(page).select(".cell") if "ser.check." in cell.get_text()
    ]
    here, colab = (sum(f"tag_answer-{where}" in tag for tag in tags) for where in ("here", "on-colab"))
    assert here + colab == len(tags) and here >= 16 and colab >= 10
